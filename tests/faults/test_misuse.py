"""Random misuse of one machine's credential: another machine's samples stay new, memory and tables stay bounded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.fleet import ORG, SECRET, Fleet, running_fleet
from faults.misuse import ACTS, KINDS, Act, misuse
from faults.oracle import assert_clean, say
from faults.scale import IS_WHOLE, SCALE, brokers
from faults.watch import AGE_SECONDS, GROWTH_MEBIBYTES, OTHER, Watch, age
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import Table, func, select
from waiting import wait_until

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_principal
from ingestor.domain.machine import STREAMS_MAX
from ingestor.storage.transition_log import TRANSITIONS_MAX
from schemas.database import tables
from schemas.database.queries.dead_letters import list_dead_letters

MISUSED = "misused"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("broker", brokers("embedded"))
def test_whatever_one_machine_does_with_its_credential_another_is_not_delayed_and_memory_is_bounded(
    tmp_path: Path, broker: str
) -> None:
    with running_fleet(tmp_path, broker="guarded" if broker == "mosquitto" else broker) as fleet:
        add_principal(fleet.engine, Principal(Role.MACHINE, ORG, MISUSED), SECRET, now=lambda: 1)
        fleet.add_machine(OTHER, interval_seconds=0.3)
        fleet.start()
        fleet.flows(more=3)
        done = [0]
        watch = Watch(fleet)

        @settings(
            max_examples=SCALE.misuses,
            deadline=None,
            derandomize=not IS_WHOLE,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(acts=ACTS)
        def whatever(acts: list[Act]) -> None:
            done[0] += len(acts)
            with watched(watch):
                for act in acts:
                    misuse(fleet.port, MISUSED, act)
            check(watch, acts)

        with watched(watch):
            for kind in KINDS:
                misuse(fleet.port, MISUSED, Act(kind, 200, 1))
        check(watch, list(KINDS))
        whatever()
        wait_until(lambda: age(fleet) < 1, what="the other machine's newest sample")
        say(
            f"{done[0] + len(KINDS)} acts of misuse, {broker}: newest sample of the other machine at most "
            f"{watch.oldest_seconds:.1f} s old; memory grew by at most {watch.grown(watch.highest)} MiB"
        )
        assert_bounded(fleet)
        fleet.settle()
        assert_clean(fleet, what="misuse")


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Meanwhile measure all the time."""
    done = threading.Event()

    def measure() -> None:
        while not done.wait(0.1):
            watch.look()

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(20)


def check(watch: Watch, acts: object) -> None:
    """What must hold after each example, with its acts in the message."""
    assert watch.fleet.broker.running, acts
    assert watch.fleet.ingestor.running, acts
    assert watch.oldest_seconds < AGE_SECONDS, acts
    assert max(watch.grown(watch.highest).values()) < GROWTH_MEBIBYTES, acts


def assert_bounded(fleet: Fleet) -> None:
    """What one machine can leave in the database."""
    mine = select(tables.machine.c.id).where(tables.machine.c.name == MISUSED).scalar_subquery()

    def count(table: Table) -> int:
        query = select(func.count()).where(table.c.machine_id == mine)
        with fleet.engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    assert min(count(table) for table in (tables.sample, tables.transition, tables.stream)) > 0, "the misuse arrived"
    assert {letter["machine"] for letter in list_dead_letters(fleet.engine, limit=1000)} == {MISUSED}
    assert count(tables.transition) <= 2 * (TRANSITIONS_MAX + 1), "in at most two hours"
    assert count(tables.stream) <= STREAMS_MAX
    assert b"Traceback" not in fleet.ingestor.output
    assert b"Traceback" not in fleet.broker.output
