"""Who of several ingestors does what, on both databases, with a clock under the test's thumb."""

from dataclasses import dataclass

import pytest
from clocks import Clock
from sqlalchemy import Engine, select

from ingestor.admin.access import add_org, remove_org
from ingestor.cluster.leases import LEASE_SECONDS, PARTS, TIMERS, FencedError, Leases, part_lease
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade

ORGS = ("acme", "home", "office")


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def engine(database: Engine, clock: Clock) -> Engine:
    for org in ORGS:
        add_org(database, org, now=clock.now)
    return database


@dataclass
class One:
    """One ingestor's leases."""

    engine: Engine
    clock: Clock
    name: str

    def __post_init__(self) -> None:
        self.leases = Leases(self.engine, name=self.name, clock=self.clock)
        self.leases.begin(self.clock.now())

    def beat(self, *, connected: bool = True) -> None:
        mine = tables.ingestor.c.name == self.name
        with self.engine.begin() as connection:
            self.leases.fence(connection)
            values = {"beat_at": self.clock.now(), "broker_connected": connected}
            connection.execute(tables.ingestor.update().where(mine).values(values))

    def step(self, *, by_org: bool = True, hearing: bool = True) -> set[str]:
        self.beat(connected=hearing)
        return set(self.leases.step(by_org=by_org, hearing=hearing)[0])


def one(engine: Engine, clock: Clock, name: str) -> One:
    return One(engine, clock, name)


def pass_time(clock: Clock, seconds: float, *alive: One) -> None:
    """Meanwhile those that live do what they do each second."""
    for _ in range(round(seconds)):
        clock.advance(1)
        for each in alive:
            each.step()


def test_the_only_ingestor_has_everything_at_once(engine: Engine, clock: Clock) -> None:
    assert one(engine, clock, "a").step() == {TIMERS, *ORGS}


def test_two_share_the_organisations_and_one_has_the_timers(engine: Engine, clock: Clock) -> None:
    first = one(engine, clock, "a")
    first.step()
    second = one(engine, clock, "b")
    assert second.step() == set()
    kept = first.step()
    got = second.step()
    assert kept | got == {TIMERS, *ORGS}
    assert not kept & got
    assert len(kept - {TIMERS}) == 2
    assert TIMERS in kept


def test_without_organisations_the_parts_of_the_machines_are_divided_evenly(engine: Engine, clock: Clock) -> None:
    several = [one(engine, clock, name) for name in "abc"]
    assert several[0].step(by_org=False) == {TIMERS, *(part_lease(part) for part in range(PARTS))}
    for _ in range(3):
        held = [each.step(by_org=False) for each in several]
    assert set().union(*held) == {TIMERS, *(part_lease(part) for part in range(PARTS))}
    assert [len(some - {TIMERS}) for some in held] == [PARTS / 3] * 3


def test_what_a_dead_ingestor_held_is_taken_over_after_the_leases_time(engine: Engine, clock: Clock) -> None:
    dead, other = one(engine, clock, "a"), one(engine, clock, "b")
    dead.step()
    other.step()
    pass_time(clock, LEASE_SECONDS - 1, other)
    assert other.step() == set()
    pass_time(clock, 2, other)
    assert other.step() == {TIMERS, *ORGS}


def test_who_stood_still_writes_nothing_after_its_work_was_taken_over(engine: Engine, clock: Clock) -> None:
    stalled, other = one(engine, clock, "a"), one(engine, clock, "b")
    stalled.step()
    pass_time(clock, LEASE_SECONDS + 2, other)
    with pytest.raises(FencedError):
        stalled.beat()
    with pytest.raises(FencedError):
        stalled.leases.step(by_org=True, hearing=True)
    with pytest.raises(FencedError):
        stalled.leases.release()
    again = one(engine, clock, "a")
    again.step()
    pass_time(clock, 2, other, again)
    assert other.step() | again.step() == {TIMERS, *ORGS}


def test_one_that_starts_again_has_what_it_held_and_fences_off_what_still_runs(engine: Engine, clock: Clock) -> None:
    before = one(engine, clock, "a")
    held = before.step()
    after = one(engine, clock, "a")
    assert after.step() == held
    with pytest.raises(FencedError):
        before.beat()


def test_an_orderly_end_leaves_everything_free_at_once(engine: Engine, clock: Clock) -> None:
    first, second = one(engine, clock, "a"), one(engine, clock, "b")
    first.step()
    second.step()
    first.beat(connected=False)
    first.leases.release()
    assert second.step() == {TIMERS, *ORGS}


def test_one_that_does_not_hear_loses_its_work_to_one_that_does(engine: Engine, clock: Clock) -> None:
    deaf, other = one(engine, clock, "a"), one(engine, clock, "b")
    deaf.step()
    for _ in range(round(LEASE_SECONDS) + 2):
        clock.advance(1)
        try:
            deaf.step(hearing=False)
        except FencedError:
            deaf = one(engine, clock, "a")
        other.step()
    assert other.step() == {TIMERS, *ORGS}
    assert deaf.step(hearing=False) == set(), "it takes nothing from those that hear"


def test_when_nobody_hears_everybody_keeps_what_they_have(engine: Engine, clock: Clock) -> None:
    first, second = one(engine, clock, "a"), one(engine, clock, "b")
    first.step()
    second.step()
    first.step()
    second.step()
    for _ in range(round(3 * LEASE_SECONDS)):
        clock.advance(1)
        kept, got = first.step(hearing=False), second.step(hearing=False)
    assert (len(kept), len(got)) == (3, 1)


def test_an_organisation_that_is_new_or_removed_is_so_for_the_leases(engine: Engine, clock: Clock) -> None:
    only = one(engine, clock, "a")
    only.step()
    add_org(engine, "new", now=clock.now)
    assert "new" in only.step()
    remove_org(engine, "new", now=clock.now)
    assert "new" not in only.step()
    with engine.connect() as connection:
        assert "new" not in set(connection.scalars(select(tables.lease.c.name)))


def test_two_engines_at_the_same_moment_never_hold_the_same(database_url: str, engine: Engine, clock: Clock) -> None:
    other_engine = open_engine(database_url)
    upgrade(other_engine)
    several = [one(engine, clock, "a"), one(other_engine, clock, "b"), one(engine, clock, "c")]
    for _ in range(6):
        clock.advance(1)
        held = [each.step() for each in several]
    assert sum(len(part) for part in held) == len({TIMERS, *ORGS}) == len(set().union(*held))
    assert [len(part - {TIMERS}) for part in held] == [1, 1, 1]
    other_engine.dispose()
