"""Storing lists of facts, on both databases."""

import pytest
from clocks import Clock
from facts import DOWN, UP, changes, items, kinds, retained, state
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from ingestor.admin.access import reinstate, revoke_principal
from ingestor.history.retention import Pruning
from ingestor.storage.fact_store import CHANGES_PER_KIND, MORE
from ingestor.storage.store import Store
from schemas.database import tables
from schemas.fleet.history import DAY, Retention


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def test_a_list_replaces_the_one_before_and_its_changes_are_recorded(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    state(bench, speaker.facts("containers", web=UP, db=UP, old=UP))
    assert changes(fleet) == []  # an inventory, not a change
    state(bench, speaker.facts("containers", web=DOWN, db=UP, new=UP))
    assert items(fleet) == {"web": ("critical", "exited"), "db": ("good", "running"), "new": ("good", "running")}
    assert sorted(changes(fleet)) == [
        ("new", "appeared", {}, {"state": "running"}),
        ("old", "disappeared", {"state": "running"}, {}),
        ("web", "changed", {"state": "running"}, {"state": "exited"}),
    ]


def test_a_retired_machine_has_no_lists_and_nothing_retained_until_it_returns(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    state(bench, speaker.facts("containers", web=UP))
    assert retained(bench) == ["containers"]
    revoke_principal(fleet, "home.attic", now=clock.now)
    bench.step(2.0, steps=3)
    assert (kinds(fleet), items(fleet), retained(bench)) == ([], {}, [])
    state(bench, speaker.facts("containers", web=UP))
    bench.step(1.0)
    assert (kinds(fleet), retained(bench)) == ([], [])
    with fleet.begin() as connection:
        reinstate(connection, "home.attic")
    bench.step(2.0, steps=3)
    speaker.session += 1
    state(bench, speaker.facts("containers", web=UP))
    assert (items(fleet), changes(fleet)) == ({"web": ("good", "running")}, [])


def test_changes_of_a_day_are_bounded_counted_and_those_of_other_kinds_recorded(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    clock.advance((DAY - clock.now() % DAY) / 1000)
    state(bench, speaker.facts("services", nginx=UP))
    names = [f"web-{number}" for number in range(CHANGES_PER_KIND // 2 + 10)]
    for each in (UP, DOWN, UP):
        state(bench, speaker.facts("containers", dict.fromkeys(names, each)))
    state(bench, speaker.facts("services", nginx=DOWN))
    table = tables.fact_change.c
    with fleet.connect() as connection:
        rows = connection.execute(select(table.kind, table.change, table.times)).all()
    assert sorted(set(rows)) == [("containers", "changed", 1), ("containers", MORE, 20), ("services", "changed", 1)]
    assert len(rows) == CHANGES_PER_KIND + 2
    assert set(items(fleet).values()) == {("good", "running")}


def test_a_list_of_one_organisation_is_not_that_of_a_machine_of_the_same_name_in_another(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    state(bench, speaker.facts("containers", web=UP))
    state(bench, Speaker(clock, org="office").facts("containers", web=DOWN))
    table = tables.fact.c
    with fleet.connect() as connection:
        query = select(tables.org.c.name, table.health).join_from(tables.fact, tables.org)
        assert sorted(map(tuple, connection.execute(query))) == [("home", "good"), ("office", "critical")]


def test_changes_are_deleted_with_the_other_events_and_the_lists_stay(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    state(bench, speaker.facts("containers", web=UP))
    state(bench, speaker.facts("containers", web=DOWN))
    pruning = Pruning(Store(fleet, name="ingestor", dead_letter_max=10))
    while pruning.step(clock.now()):
        pass
    assert len(changes(fleet)) == 1
    clock.advance(Retention().events_seconds + 10)
    while pruning.step(clock.now()):
        pass
    assert (changes(fleet), items(fleet)) == ([], {"web": ("critical", "exited")})


def test_removing_a_machine_removes_its_facts(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    state(bench, speaker.facts("containers", web=UP))
    state(bench, speaker.facts("containers", web=DOWN))
    with fleet.begin() as connection:
        connection.execute(tables.machine.delete())
        for table in (tables.fact, tables.fact_list, tables.fact_change):
            assert connection.execute(select(table)).all() == []
