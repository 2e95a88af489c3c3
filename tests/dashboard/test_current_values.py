"""No value of a machine that is not online is shown as current: on no page, in no export, report or list."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from seeding import NOW, Fleet
from sqlalchemy import Engine

from cli.machines import machine_table
from dashboard.export import fleet as fleet_export
from dashboard.fleet import rows, tile_map
from dashboard.machine import gauges
from dashboard.report import html
from dashboard.report.summary import gather
from schemas.database.queries import machines, tiles
from schemas.database.queries.machines import Filters
from schemas.fleet.forecast import Forecast, Outlook

AS_OF = NOW - 75 * 60_000
CPU, MEMORY, DISK, SCORE = 91.4, 83.6, 97.3, 47
NOT_ONLINE: list[dict[str, Any]] = [
    {"presence": "offline"},
    {"presence": "stale"},
    {"presence": "expired"},
    {"presence": "unknown"},
    {"presence": "retired"},
    {"presence": "online", "verified": False},
]


@pytest.fixture(params=NOT_ONLINE, ids=lambda given: "-".join(map(str, given.values())))
def given(request: pytest.FixtureRequest, fleet: Fleet) -> dict[str, Any]:
    """A machine that is not online, whose last values cannot be taken for others."""
    found: dict[str, Any] = request.param
    values: dict[str, Any] = {"cpu_percent": CPU, "memory_percent": MEMORY, "disk_percent": DISK, "health_score": SCORE}
    fleet.machine("away", **values, sampled_at=AS_OF, **found)
    return found


def filters(given: dict[str, Any]) -> Filters:
    return Filters(presences=(given["presence"],))


def test_on_the_fleet_page(given: dict[str, Any], reader: Engine) -> None:
    (row,) = rows.rows(machines.find_rows(reader, "home", ["away"]), NOW, None, path="/machine")
    cells = dict(zip((column.code for column in rows.COLUMNS), row["cells"], strict=True))
    assert (cells["health"]["text"], cells["health"]["detail"]) == ("–", "as of 20:58")
    for code in ("cpu", "memory", "disk", "full", "trend", "uptime"):
        assert cells[code]["aged"] is True, code
        assert cells[code].get("tone", "plain") == "plain", code
    assert machines.find_page(reader, "home", filters(given), offset=0, limit=5)[0] == ("away",)


@pytest.mark.usefixtures("given")
def test_on_the_machine_page(reader: Engine) -> None:
    row = machines.find_machine(reader, "home", "away")
    assert row is not None
    html = gauges.draw(row, [], None, [], Forecast(Outlook.FULL, 1.0, NOW), NOW, UTC)
    assert "Last values, as of 20:58" in html
    assert html.count("df-gauges") == html.count("df-aged")
    assert str(SCORE) not in html
    for tone in ("good", "fair", "bad"):
        assert f"df-{tone}" not in html
    assert "full" not in html


@pytest.mark.usefixtures("given")
def test_on_the_cards_and_by_the_filter_of_health(reader: Engine) -> None:
    counts = machines.count_by_status(reader, "home", Filters())
    assert {health for _presence, health, _attention in counts.numbers} == {"unknown"}
    for presence in ("online", "stale", "offline", "expired", "unknown", "retired"):
        wanted = Filters(presences=(presence,), healths=("ok", "warn", "critical"))
        assert machines.matching_names(reader, "home", wanted) == ()


def test_on_the_map(given: dict[str, Any], reader: Engine) -> None:
    look = tiles.find_tiles(reader, "home", filters(given), "").looks
    assert look not in tiles.BY_HEALTH.values()
    assert "OK" not in tile_map.word(look).label


def test_in_an_export(given: dict[str, Any], reader: Engine) -> None:
    (batch,) = fleet_export.rows(reader, "home", filters(given))
    (row,) = batch
    assert set(row) >= {"current", "as_of"}
    assert {"current", "as_of"} <= set(fleet_export.COLUMNS)
    assert (row["current"], row["health_status"], row["health_score"]) == (False, "unknown", None)
    assert row["as_of"] == datetime.fromtimestamp(AS_OF / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


@pytest.mark.usefixtures("given")
def test_on_the_command_line(reader: Engine) -> None:
    (plain,) = machines.list_machines(reader)
    assert (plain["current"], plain["health"]) == (False, {"score": None, "status": "unknown"})
    assert (plain["vitals"]["cpu_percent"], plain["vitals"]["as_of"]) == (CPU, AS_OF)
    console = Console(width=200, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(machine_table([plain], now=NOW / 1000))
    line = captured.get().splitlines()[1]
    assert "as of 20:58Z" in line
    for percent in (CPU, MEMORY, DISK):
        assert f"\x1b[2m{percent:.1f} %\x1b[0m" in line
    assert str(SCORE) not in line.replace("\x1b", "")


@pytest.mark.usefixtures("given")
def test_in_a_report(reader: Engine) -> None:
    report = gather(reader, "home", (NOW - 86_400_000, NOW), now=NOW)
    assert [each.health_now for each in report.machines] == ["unknown"]
    assert str(SCORE) not in html.page(report)
