"""Events of the timeline, on both databases: whose they are, which page, and how their rows are found."""

from collections.abc import Callable
from typing import Any

import pytest
from seeding import Fleet
from sqlalchemy import Engine, Row, Select, insert, text

from schemas.database import tables
from schemas.database.events import event_queries
from schemas.database.events.event_queries import EventRange
from schemas.database.queries.fetch import fetch_all
from schemas.fleet.history import DAY, HOUR


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def ids(found: list[Row[Any]]) -> list[Any]:
    return [row.id for row in found]


def wanted(fleet: Fleet, **given: Any) -> EventRange:  # noqa: ANN401 - fields of any type
    return EventRange(**{"start": fleet.now - DAY, "end": fleet.now + 1, **given})


def asked(fleet: Fleet, id_: str, kind: str, at: int, *, batch: str = "", org: str = "home", detail: str = "") -> str:
    row = {"id": id_, "org_id": fleet.org(org), "principal": "_dashboard", "actor": "ada", "kind": kind}
    with fleet.engine.begin() as connection:
        row |= {"batch": batch, "state": "accepted", "detail": detail, "created_at": at}
        connection.execute(insert(tables.request).values(row))
    return id_


def ordered(fleet: Fleet, id_: str, machine: int, request: str, at: int, action: str = "ping") -> None:
    row = {"id": id_, "machine_id": machine, "request_id": request, "action": action, "arguments": {}, "statement": ""}
    row |= {"key": "", "signature": "", "expires_at": at, "state": "succeeded", "created_at": at}
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.command).values(row))


def test_a_presence_lasts_until_the_machines_next_one(fleet: Fleet, reader: Engine) -> None:
    attic, cellar = fleet.machine("attic"), fleet.machine("cellar")
    fleet.transition(attic, fleet.now - 3 * HOUR, "online", "offline", "lost")
    fleet.transition(cellar, fleet.now - 2 * HOUR, "unknown", "online", "connected")
    fleet.transition(attic, fleet.now - HOUR, "offline", "online", "connected")
    found = event_queries.list_presence_events(reader, "home", wanted(fleet))
    assert [(row.name, row.after, row.ended_at) for row in found] == [
        ("attic", "online", None),
        ("cellar", "online", None),
        ("attic", "offline", fleet.now - HOUR),
    ]


def test_a_page_ends_at_the_limit_and_the_next_begins_there_also_within_one_moment(
    fleet: Fleet, reader: Engine
) -> None:
    attic = fleet.machine("attic")
    for _ in range(5):
        fleet.transition(attic, fleet.now, "offline", "online", "connected")
    first = event_queries.list_presence_events(reader, "home", wanted(fleet, limit=2))
    rest = wanted(fleet, end=fleet.now, below_key=first[-1].id, limit=9)
    assert ids(first) == [5, 4]
    assert ids(event_queries.list_presence_events(reader, "home", rest)) == [3, 2, 1]


Query = Callable[[Engine, str, EventRange], list[Row[Any]]]


@pytest.mark.parametrize("few", [0, 500])
@pytest.mark.parametrize("query", [event_queries.list_presence_events, event_queries.list_alert_events])
def test_events_are_only_the_organisations_machines_and_times(
    fleet: Fleet, reader: Engine, query: Query, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few machines and with many, which are read in two ways."""
    monkeypatch.setattr(event_queries, "FEW_MACHINES", few)
    for org in ("home", "acme"):
        for name in ("attic", "cellar"):
            machine = fleet.machine(f"{name}-{org}", org=org, hostname=None)
            for at in (fleet.now - 2 * DAY, fleet.now - HOUR):
                fleet.transition(machine, at, "online", "offline", "lost")
                fleet.alert(machine, "hot", at)
    found = query(reader, "home", wanted(fleet))
    assert sorted(row.name for row in found) == ["attic-home", "cellar-home"]
    assert [row.name for row in query(reader, "home", wanted(fleet, machine="attic-home"))] == ["attic-home"]
    assert [row.name for row in query(reader, "home", wanted(fleet, search="CELL"))] == ["cellar-home"]
    assert query(reader, "home", wanted(fleet, machine="attic-acme")) == []
    assert query(reader, "nobody", wanted(fleet)) == []


def test_a_batch_is_one_event_and_found_by_action_machine_and_user(fleet: Fleet, reader: Engine) -> None:
    attic, cellar = fleet.machine("attic"), fleet.machine("cellar")
    for i, machine in enumerate((attic, cellar)):
        ordered(fleet, f"c{i}", machine, asked(fleet, f"a{i}", "act", fleet.now - HOUR + i, batch="one"), fleet.now)
    asked(fleet, "b", "act", fleet.now, batch="two")
    asked(fleet, "c", "act", fleet.now, batch="three", org="acme")
    asked(fleet, "d", "add-token", fleet.now)
    batches = event_queries.list_batch_events
    assert ids(batches(reader, "home", wanted(fleet))) == ["b", "a0"]
    assert ids(batches(reader, "home", wanted(fleet, search="ada"))) == ["b", "a0"]
    assert ids(batches(reader, "home", wanted(fleet, search="ping attic"))) == ["a0"]
    assert ids(batches(reader, "home", wanted(fleet, search="reboot"))) == []


def test_commands_of_a_machine_have_their_requester(fleet: Fleet, reader: Engine) -> None:
    attic, cellar = fleet.machine("attic"), fleet.machine("cellar")
    request = asked(fleet, "a", "act", fleet.now - HOUR, batch="one")
    ordered(fleet, "c1", attic, request, fleet.now - HOUR)
    ordered(fleet, "c2", cellar, request, fleet.now - HOUR)
    (found,) = event_queries.list_command_events(reader, "home", wanted(fleet, machine="attic"))
    assert (found.id, found.action, found.actor) == ("c1", "ping", "ada")


def test_settings_of_the_organisation_are_no_event_of_a_machine_unless_they_retire_it(
    fleet: Fleet, reader: Engine
) -> None:
    asked(fleet, "a", "add-token", fleet.now, detail="attic")
    asked(fleet, "b", "retire-machine", fleet.now, detail="attic")
    asked(fleet, "c", "retire-machine", fleet.now, detail="cellar")
    changes = event_queries.list_change_events
    assert ids(changes(reader, "home", wanted(fleet))) == ["c", "b", "a"]
    assert ids(changes(reader, "home", wanted(fleet, machine="attic"))) == ["b"]


def test_an_organisation_sees_no_incident_from_before_it_existed(fleet: Fleet, reader: Engine) -> None:
    fleet.incident("blind")
    fleet.org("home")
    assert event_queries.list_incident_events(reader, "home", wanted(fleet)) == []
    fleet.incident("mass-silence", org="home", names=["attic", "cellar"])
    fleet.incident("mass-silence", org="acme", names=["attic"])
    of_attic = wanted(fleet, machine="attic")
    assert ids(event_queries.list_incident_events(reader, "home", wanted(fleet))) == [2]
    assert ids(event_queries.list_incident_events(reader, "home", of_attic)) == [2]
    assert event_queries.list_incident_events(reader, "home", wanted(fleet, machine="att")) == []


@pytest.mark.parametrize(
    ("query", "many", "few"),
    [
        (event_queries.list_presence_events, "ix_transition_at", "ix_transition_machine_id_at"),
        (event_queries.list_alert_events, "ix_alert_started_at", "ix_alert_machine_id_started_at"),
    ],
)
def test_rows_are_found_by_time_or_by_machine_and_never_by_reading_a_table(
    fleet: Fleet, query: Query, many: str, few: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = fleet.machine("attic")
    fleet.machine("cellar")
    fleet.transition(machine, fleet.now, "online", "offline", "lost")
    plans: list[str] = []

    def explain(engine: Engine, query: Select[Any]) -> list[Row[Any]]:
        plans.append(plan(engine, query))
        return fetch_all(engine, query)

    monkeypatch.setattr(event_queries, "fetch_all", explain)
    by_statistics = fleet.engine.dialect.name == "postgresql"  # of a table of this size they say nothing
    for most, index in ((0, many), (500, many if by_statistics else few)):
        monkeypatch.setattr(event_queries, "FEW_MACHINES", most)
        query(fleet.engine, "home", wanted(fleet))
        assert index in plans[-1] or (by_statistics and few in plans[-1]), plans[-1]


def plan(engine: Engine, query: Select[Any]) -> str:
    """Return how the database would run a query; tables so small are else read whole by PostgreSQL."""
    shown = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        prefix = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        return "\n".join(str(row) for row in connection.execute(text(f"{prefix} {shown.replace(':', chr(92) + ':')}")))
