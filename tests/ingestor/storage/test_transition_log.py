"""Transitions of a machine that comes and goes all the time: bounded, counted, and the last one is true."""

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from ingestor.storage.transition_log import TRANSITIONS_MAX
from schemas.database import tables
from schemas.database.events.event_queries import EventRange, list_presence_events
from schemas.database.queries.machines import list_machines
from schemas.fleet.availability import FLAPPING
from schemas.fleet.history import HOUR


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def flap(bench: Bench, speaker: Speaker, times: int) -> None:
    """Connect and stop this many times, each in a new session."""
    for _ in range(times):
        speaker.session += 1
        bench.publish(speaker.status(), speaker.status("stopped"))
        bench.step(0.01)


def presence(fleet: Engine) -> str:
    return str(next(row["presence"] for row in list_machines(fleet) if row["org"] == "home"))


def rows(fleet: Engine) -> list[tuple[str, str, str, int]]:
    table = tables.transition.c
    with fleet.connect() as connection:
        query = select(table.before, table.after, table.reason, table.times).order_by(table.id)
        return [tuple(row) for row in connection.execute(query)]


def test_above_the_bound_one_row_has_the_number_and_the_presence(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    clock.advance(-(clock.now() % HOUR) / 1000)
    flap(bench, speaker, 100)
    bench.publish(speaker.telemetry(1), speaker.status(session=1000))
    bench.step(0.01)
    found = rows(fleet)
    assert len(found) == TRANSITIONS_MAX + 1
    assert found[-1] == ("offline", "online", FLAPPING, 201 - TRANSITIONS_MAX)
    assert presence(fleet) == "online"
    assert bench.ingestor.counters["flapping"] == 201 - TRANSITIONS_MAX
    (machine,) = (row for row in list_machines(fleet) if row["org"] == "home")
    assert machine["flapping"] == 201 - TRANSITIONS_MAX
    (newest,) = list_presence_events(fleet, "home", EventRange(0, 1 << 60, machine="attic", limit=1))
    assert (newest.after, newest.reason, newest.times) == ("online", FLAPPING, 201 - TRANSITIONS_MAX)


def test_the_next_hour_has_rows_of_its_own_and_others_are_not_concerned(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    clock.advance(-(clock.now() % HOUR) / 1000)
    flap(bench, speaker, 40)
    office = Speaker(clock, org="office")
    bench.publish(office.status())
    bench.step(0.01)
    assert rows(fleet)[-1] == ("unknown", "online", "connected", 1)
    clock.advance(HOUR / 1000)
    before = len(rows(fleet))
    flap(bench, speaker, 1)
    assert [row[2] for row in rows(fleet)[before:]] == ["connected", "stopped"]
    assert all(row["flapping"] == 0 for row in list_machines(fleet))
