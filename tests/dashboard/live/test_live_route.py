"""Live readings over HTTP: of the visitor's own organisation, in place of the stored ones, or why there are none."""

from collections.abc import Iterator
from typing import Any

import pytest
from clocks import Clock
from seeding import INFO, NOW, Fleet
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from broker.client.live_client import LiveReading, LiveView
from dashboard.auth.middleware import LIVE
from dashboard.live.live_route import ROW_SECONDS, SELDOM_SECONDS, SOON_SECONDS, LiveRoute
from schemas.contract.live import Live
from schemas.contract.messages import Vitals

ABLE = {**INFO, "live_interval_seconds": 1.0}


class Looking:
    """Stands in for the publisher: what is known of live readings."""

    def __init__(self) -> None:
        self.view = LiveView()
        self.why = ""
        self.looks: list[tuple[str, str]] = []

    def look(self, org: str, machine: str) -> LiveView:
        self.looks.append((org, machine))
        return self.view

    def unreachable(self) -> str:
        return self.why


@pytest.fixture
def looking() -> Looking:
    return Looking()


@pytest.fixture
def client(reader: Engine, looking: Looking, clock: Clock) -> Iterator[TestClient]:
    routes = LiveRoute(reader, looking, clock).routes()  # type: ignore[arg-type]
    with TestClient(Starlette(routes=routes), headers={"x-df-org": "home"}) as client:
        yield client


def reading(at: int = NOW, **vitals: Any) -> LiveReading:  # noqa: ANN401
    values = {"cpu_percent": 12.0, "memory_percent": 40.0, "disk_percent": 50.0, **vitals}
    return LiveReading(at, Live(session=1, at=at, vitals=Vitals(**values)))


def live(*readings: LiveReading) -> LiveView:
    return LiveView(readings, is_live=True)


def shown(client: TestClient, name: str = "attic") -> dict[str, Any]:
    answer = client.get(LIVE, params={"id": name})
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_live_readings_stand_in_place_of_the_stored_ones(fleet: Fleet, client: TestClient, looking: Looking) -> None:
    fleet.machine("attic", info=ABLE, cpu_percent=3.0)
    counters = [reading(NOW - 1000, network_received_bytes=1000), reading(NOW, network_received_bytes=6000)]
    looking.view = live(*counters)
    state = shown(client)
    assert (state["note"], state["seconds"]) == ("Live, every second", 1.0)
    assert "12 %" in state["html"]
    assert ">3 %" not in state["html"]
    assert "5 kB/s" in state["html"]
    assert 'class="df-line"' in state["html"]


def test_the_health_is_that_of_the_live_readings(fleet: Fleet, client: TestClient, looking: Looking) -> None:
    fleet.machine("attic", info=ABLE)
    looking.view = live(reading(cpu_percent=100.0))
    assert "Critical" in shown(client)["html"]


def test_a_reading_that_could_not_be_taken_is_not_shown_as_the_stored_one(
    fleet: Fleet, client: TestClient, looking: Looking
) -> None:
    fleet.machine("attic", info=ABLE, cpu_percent=33.0)
    looking.view = live(reading(cpu_percent=None))
    assert "33 %" not in shown(client)["html"]


def test_a_sentence_says_why_there_are_none(fleet: Fleet, client: TestClient, looking: Looking) -> None:
    fleet.machine("attic", info=ABLE)
    fleet.machine("old", info=INFO)
    fleet.machine("gone", info=ABLE, presence="offline", reason="lost")
    cases = [
        ("old", LiveView(), "", "Not live: the agent of this machine does not report every second."),
        ("gone", LiveView(), "", "Not live: the machine is not online."),
        ("attic", LiveView(waited_seconds=SOON_SECONDS - 1), "", "Waiting for live readings …"),
        ("attic", LiveView(waited_seconds=7.2), "", "Not live: no reading has arrived for 7 seconds."),
        ("attic", LiveView(refused="too-many"), "", "Not live: as many machines of the organisation are being"),
        ("attic", LiveView(), "The broker is away.", "Not live: The broker is away."),
    ]
    for name, looking.view, looking.why, said in cases:
        state = shown(client, name)
        assert (state["html"], state["note"][: len(said)]) == ("", said)


def test_a_machine_without_live_readings_is_not_looked_at_and_its_page_asks_seldom(
    fleet: Fleet, client: TestClient, looking: Looking
) -> None:
    fleet.machine("attic", info=INFO)
    fleet.machine("old", info=ABLE, presence="retired", reason="revoked")
    assert [shown(client, name)["seconds"] for name in ("attic", "old")] == [SELDOM_SECONDS, SELDOM_SECONDS]
    assert shown(client, "old")["note"] == ""
    assert looking.looks == []


def test_what_a_machine_says_of_itself_is_shown_as_text(fleet: Fleet, client: TestClient, looking: Looking) -> None:
    metric = {"name": "fan_rpm", "unit": "<b>", "title": "<img src=x onerror=alert(1)>"}
    fleet.machine("attic", info={**ABLE, "metrics": [metric]})
    newest = Live(session=1, at=NOW, vitals=Vitals(), extra={"fan_rpm": 5.0})
    looking.view = live(LiveReading(NOW, newest))
    html = shown(client)["html"]
    assert "<img" not in html
    assert "&lt;img" in html


def test_the_line_of_the_last_minutes_has_a_gap_where_no_reading_came(
    fleet: Fleet, client: TestClient, looking: Looking
) -> None:
    fleet.machine("attic", info=ABLE)
    ages = [200_000, 60_000, 59_000, 20_000, 19_000]
    looking.view = live(*(reading(NOW - age) for age in ages))
    line = shown(client)["html"].partition('class="df-line"')[2].partition("/>")[0]
    assert line.count("M") == 2
    assert line.count("L") == 2


def test_a_machine_of_another_organisation_does_not_exist(fleet: Fleet, client: TestClient, looking: Looking) -> None:
    fleet.machine("theirs", org="other", info=ABLE)
    for name in ("theirs", "nobody", "", "<script>"):
        assert client.get(LIVE, params={"id": name}).status_code == 404
    assert looking.looks == []


def test_the_database_is_read_once_in_ten_seconds_however_many_look(
    fleet: Fleet, client: TestClient, looking: Looking, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from schemas.database.queries import machines

    reads: list[str] = []
    original = machines.find_machine

    def counted(engine: Engine, org: str, name: str) -> Any:  # noqa: ANN401 - a row
        reads.append(name)
        return original(engine, org, name)

    monkeypatch.setattr(machines, "find_machine", counted)
    fleet.machine("attic", info=ABLE)
    looking.view = live(reading())
    for _ in range(30):
        shown(client)
        clock.advance(1.0)
    assert len(reads) == 30 / ROW_SECONDS


def test_a_database_that_is_away_is_said(fleet: Fleet, client: TestClient, reader: Engine) -> None:
    fleet.machine("attic", info=ABLE)
    with fleet.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE state RENAME TO elsewhere")
    reader.dispose()
    assert client.get(LIVE, params={"id": "attic"}).status_code == 503
