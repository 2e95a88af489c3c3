"""Pruning: what was kept for long enough goes, nothing is rolled up twice for it, and the space comes back."""

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from rollups import START, STEPS, Keeper, Step, arrived, count, follow, tend
from sqlalchemy import Connection, Engine, event, func, insert, select, update

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from ingestor.admin.tokens import list_tokens, new_token
from ingestor.history.due_machines import PAGE
from ingestor.history.retention import PAGES_AT_ONCE, TOKENS_KEPT
from schemas.database import tables
from schemas.database.engine import open_engine
from schemas.fleet.history import DAY, HOUR, MINUTE, Retention


@pytest.fixture
def keeper(database: Engine) -> Keeper:
    for org in ("home", "office"):
        add_org(database, org, now=lambda: 0)
        add_principal(database, Principal(Role.MACHINE, org, "attic"), "made-up", now=lambda: 0)
    return Keeper(database)


def test_samples_go_after_two_days_minutes_after_two_weeks_hours_after_thirteen_months(keeper: Keeper) -> None:
    keeper.write(*(arrived(1, START + i * MINUTE, i + 1) for i in range(120)))
    tend(keeper, hours=45)
    assert [count(keeper, name) for name in ("sample", "minute", "hour")] == [120, 120, 2]
    tend(keeper, hours=1.5)
    assert [count(keeper, name) for name in ("sample", "minute", "hour")] == [60, 120, 2]
    tend(keeper, hours=12 * 24 - 1)
    assert [count(keeper, name) for name in ("sample", "minute", "hour")] == [0, 60, 2]
    tend(keeper, hours=386 * 24 + 2)
    assert [count(keeper, name) for name in ("sample", "minute", "hour")] == [0, 0, 0]


def test_a_token_goes_a_month_after_it_expired_and_what_it_made_stays(keeper: Keeper) -> None:
    for seconds in (3 * 3600.0, 48 * 3600.0):
        new_token(keeper.engine, "home", uses=1, seconds=seconds, created_by="", now=lambda: keeper.now)
    keeper.now += TOKENS_KEPT
    tend(keeper)
    assert len(list_tokens(keeper.engine)) == 2
    tend(keeper, hours=1)
    assert len(list_tokens(keeper.engine)) == 1
    tend(keeper, hours=48)
    assert list_tokens(keeper.engine) == []
    assert (count(keeper, "principal"), count(keeper, "machine")) == (2, 2)


def test_each_organisation_keeps_its_own_for_as_long_as_it_says(keeper: Keeper) -> None:
    kept = {"samples_seconds": 3600, "minutes_seconds": 7200, "hours_seconds": 86_400}
    with keeper.engine.begin() as connection:
        connection.execute(update(tables.org).where(tables.org.c.name == "office").values(retention=kept))
    keeper.write(arrived(1, START, 1), arrived(2, START, 1))
    tend(keeper, hours=4)
    assert {key[0] for key in keeper.stored("minute")} == {1}
    tend(keeper, hours=25)
    assert {key[0] for key in keeper.stored("hour")} == {1}
    assert count(keeper, "sample") == 1


def test_what_comes_for_a_minute_that_was_pruned_is_added_once_and_not_kept(keeper: Keeper) -> None:
    keeper.write(arrived(1, START, 1, cpu=10.0), arrived(1, START + 1, 2, cpu=20.0))
    tend(keeper, hours=15 * 24)
    assert (count(keeper, "sample"), count(keeper, "minute")) == (0, 0)
    keeper.write(arrived(1, START + 2, 3, cpu=60.0))
    tend(keeper)
    tend(keeper, hours=2)
    assert (count(keeper, "sample"), count(keeper, "minute")) == (0, 0)
    keeper.check("hour", HOUR)


def test_nothing_is_pruned_before_it_is_rolled_up(keeper: Keeper) -> None:
    keeper.write(arrived(1, START, 1))
    later = keeper.now + 500 * DAY
    while keeper.pruning.step(later):
        pass
    assert count(keeper, "sample") == 1


def test_of_a_machine_with_many_samples_few_are_deleted_in_one_step(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.history.retention.SAMPLES_MAX_AT_ONCE", 10)
    keeper.write(*(arrived(1, START + i * 15_000, i + 1) for i in range(240)))
    tend(keeper)
    keeper.now += 10 * DAY
    left = [count(keeper, "sample")]
    while keeper.step():
        left.append(count(keeper, "sample"))
    assert left[-1] == 0
    assert max(before - after for before, after in pairwise(left)) <= 10
    keeper.write(arrived(1, START + 1, 500))
    tend(keeper)
    keeper.check("minute", MINUTE)
    tend(keeper, hours=20 * 24)
    keeper.write(arrived(1, START + 2, 501))
    tend(keeper)
    keeper.check("hour", HOUR)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_hours_stay_what_summing_up_from_scratch_gives_however_late_samples_come(
    keeper: Keeper, steps: list[Step]
) -> None:
    follow(keeper.engine, steps)


def test_events_go_with_their_time_and_what_is_not_over_stays(keeper: Keeper) -> None:
    tend(keeper)
    old, recent = START, START + 399 * DAY
    with keeper.engine.begin() as connection:
        for at in (old, recent):
            row = {"machine_id": 1, "at": at, "before": "a", "after": "b", "reason": "", "session": 1}
            connection.execute(insert(tables.transition).values(row))
            letter = {"received_at": at, "topic": "t", "reason": "r", "detail": "", "size_bytes": 1}
            connection.execute(insert(tables.dead_letter).values(**letter, payload_start=""))
            for ended_at in (at + 1, None):
                incident = {"org_id": 1, "kind": "blind", "started_at": at, "ended_at": ended_at, "details": {}}
                connection.execute(insert(tables.incident).values(incident))
            request = {"org_id": 1, "principal": "p", "actor": "a", "kind": "act", "batch": "b", "state": "accepted"}
            connection.execute(insert(tables.request).values(id=str(at), **request, created_at=at))
            command = {"machine_id": 1, "request_id": str(at), "action": "ping", "arguments": {}, "statement": ""}
            known = {"key": "", "signature": "", "expires_at": at + 1, "state": "succeeded", "created_at": at}
            connection.execute(insert(tables.command).values(id=str(at), **command, **known, ended_at=at + 1))
    tend(keeper, hours=401 * 24)
    names = ("transition", "dead_letter", "incident", "request", "command")
    assert [count(keeper, name) for name in names] == [1, 1, 3, 1, 1]


def test_the_space_of_what_was_pruned_goes_back_to_the_file_system(keeper: Keeper, tmp_path: Path) -> None:
    keeper.write(*(arrived(1, START + i * 1000, i + 1, extra=float(i)) for i in range(20_000)))
    _checkpoint(keeper.engine)
    before = (tmp_path / "fleet.db").stat().st_size
    assert before > 1.5 * PAGES_AT_ONCE * 4096
    tend(keeper, hours=500 * 24)
    _checkpoint(keeper.engine)
    assert (tmp_path / "fleet.db").stat().st_size <= 0.6 * before


def _checkpoint(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("stored", [None, {}, [], "x", {"samples_seconds": "2 days"}, {"hours_seconds": -1}])
def test_a_retention_that_cannot_be_read_is_the_default(stored: object) -> None:
    assert Retention.read(json.loads(json.dumps(stored))) == Retention()


def test_no_step_is_large(keeper: Keeper) -> None:
    """A day and a half of a fast machine that is pruned at once is still pruned a few hours at a time."""
    keeper.write(*(arrived(1, START + i * 10 * MINUTE, i + 1) for i in range(6 * 36)))
    keeper.finish()
    keeper.now += 10 * DAY
    assert keeper.pruning.step(keeper.now)
    left = [count(keeper, "sample")]
    while keeper.pruning.step(keeper.now):
        left.append(count(keeper, "sample"))
    assert max(before - after for before, after in pairwise(left)) == 36
    assert left[-1] == 0


def test_the_same_on_a_file_that_another_process_reads(keeper: Keeper, database_url: str) -> None:
    reader = open_engine(database_url, read_only=True)
    keeper.write(*(arrived(1, START + i * MINUTE, i + 1) for i in range(300)))
    with reader.connect() as connection:
        connection.execute(select(func.count()).select_from(tables.sample))
        tend(keeper, hours=1000 * 24)
    reader.dispose()
    assert count(keeper, "sample") == 0


def test_no_step_grows_with_the_fleet_and_machines_without_old_rows_cost_no_transaction(keeper: Keeper) -> None:
    """Ten thousand machines once took a step of seconds, and fifty thousand empty transactions in each hour."""
    machines = [{"org_id": 1, "name": f"m{number}", "created_at": 0} for number in range(10_000)]
    with keeper.engine.begin() as connection:
        connection.execute(insert(tables.machine), machines)
    begun = count_transactions(keeper)
    took: list[float] = []
    slots: list[int] = []
    keeper.now = keeper.now // HOUR * HOUR
    for minute in range(60):
        keeper.now += MINUTE if minute else 0
        before = len(took)
        more = True
        while more:
            began = time.process_time()
            more = keeper.pruning.step(keeper.now)
            took.append(time.process_time() - began)
        slots.append(len(took) - before)
    assert max(took) < 0.5
    assert len(begun) < 30
    assert max(slots[1:]) <= 2 * sum(slots) / 60, "the work of an hour is spread over it"


def test_each_machine_of_a_large_fleet_is_pruned_within_an_hour_of_any_start(keeper: Keeper) -> None:
    with keeper.engine.begin() as connection:
        machines = [{"org_id": 1, "name": f"m{number}", "created_at": 0} for number in range(2 * PAGE)]
        connection.execute(insert(tables.machine), machines)
    keeper.write(*(arrived(key, START, 1) for key in range(1, 2 * PAGE)))
    keeper.finish()
    keeper.now += 3 * DAY + 40 * MINUTE
    left = []
    for _ in range(5):
        while keeper.pruning.step(keeper.now):
            pass
        left.append(count(keeper, "sample"))
        keeper.now += 15 * MINUTE
    assert left[-1] == 0
    assert all(before - after <= PAGE for before, after in pairwise([2 * PAGE - 1, *left]))


def count_transactions(keeper: Keeper) -> list[None]:
    """Return a list that grows with each transaction of the pruning."""
    begun: list[None] = []

    @event.listens_for(keeper.engine, "commit")
    def counted(_connection: Connection) -> None:
        begun.append(None)

    return begun
