"""Reports, forecasts and previews of rules read series in parts, however long the time."""

from collections.abc import Callable
from typing import Any

import pytest
from series import START, SeriesKeeper, with_series
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from dashboard.report.devices import gather_devices
from ingestor.admin.access import add_org, add_principal
from ingestor.history.disk_forecasts import DiskForecasts
from schemas.alerts.condition import resolve
from schemas.contract.alert_rules import AlertRule
from schemas.database.rules.past_devices import read_device_points
from schemas.database.series import stored_series
from schemas.fleet.history import DAY, HOUR

DAYS = 35
END = START + DAYS * DAY
FULL = AlertRule(name="full", title="Full", kind="above", metric="disk_used_percent", device="*", threshold=0.0)


def fill(engine: Engine) -> SeriesKeeper:
    """Two file systems for DAYS, with a reading every twelve hours."""
    add_org(engine, "home", now=lambda: 0)
    add_principal(engine, Principal(Role.MACHINE, "home", "attic"), "made-up", now=lambda: 0)
    keeper = SeriesKeeper(engine)
    for half in range(2 * DAYS):
        readings: dict[str, dict[str, float | None]] = {"disk_used_percent": {"/": half, "/data": 1.0}}
        keeper.write(with_series(1, START + half * 12 * HOUR, half + 1, readings))
    keeper.now = END
    keeper.finish()
    return keeper


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the times that are read at once."""
    found: list[int] = []

    def spied(read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*given: Any, start: int, end: int, **options: Any) -> Any:  # noqa: ANN401 - passed on
            found.append(end - start)
            return read(*given, start=start, end=end, **options)

        return reading

    for name in ("read_samples", "read_roll_ups"):
        monkeypatch.setattr(stored_series, name, spied(getattr(stored_series, name)))
    return found


def test_a_report_a_forecast_and_a_preview_hold_ten_days_of_series_at_most(database: Engine, spans: list[int]) -> None:
    keeper = fill(database)
    report = gather_devices(database, {1: "attic"}, (START, END))
    assert {mount.mount: (mount.highest, len(mount.days)) for mount in report.mounts} == {
        "/": (2 * DAYS - 1, DAYS + 1),
        "/data": (1.0, DAYS + 1),
    }
    (root, _) = sorted(DiskForecasts(keeper.store)._mounts(1, END), key=lambda row: row["mount"])
    assert root["outlook"] == "full"
    points, complete = read_device_points(database, resolve(FULL), [1], START, END)
    assert complete
    assert [value for _, value, _ in points[1]] == [1, *range(1, 2 * DAYS)]
    assert len(spans) > 3 * DAYS / 10
    assert max(spans) <= 10 * DAY
    assert END - START > 30 * DAY
