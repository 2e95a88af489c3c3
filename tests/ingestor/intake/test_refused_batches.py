"""A message that the database refuses costs its own machine, and nobody else more than some small transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from sqlalchemy import Engine, event, select, text

from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker
from broker.client.transport import Message
from ingestor.admin.access import add_principal
from ingestor.intake.ingress import HOLD_SECONDS
from schemas.contract.ack import Ack
from schemas.contract.messages import INTEGER_MAX
from schemas.database import tables
from schemas.database.queries.dead_letters import list_dead_letters
from schemas.database.sample_key import ROWS

POISON = 666
OTHERS = 64


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def poisoned(fleet: Engine) -> Engine:
    """The fleet's database, which refuses the number POISON; with more machines."""
    for number in range(OTHERS):
        add_principal(fleet, Principal(Role.MACHINE, "home", f"m{number}"), "made-up", now=lambda: 0)
    with fleet.begin() as connection:
        if fleet.dialect.name == "sqlite":
            connection.execute(
                text(
                    f"CREATE TRIGGER poison BEFORE INSERT ON sample WHEN NEW.seq = {POISON} "
                    "BEGIN SELECT RAISE(ABORT, 'poison'); END"
                )
            )
        else:
            connection.execute(
                text(f"ALTER TABLE {ROWS} ADD CONSTRAINT poison CHECK (stream_seq & {INTEGER_MAX} <> {POISON})")
            )
    return fleet


@pytest.fixture
def bench(poisoned: Engine, clock: Clock) -> Iterator[Bench]:
    opened = open_bench(poisoned, clock, MemoryBroker())
    opened.step(steps=2)
    yield opened
    opened.ingestor.stop()
    if poisoned.dialect.name == "postgresql":
        with poisoned.begin() as connection:
            connection.execute(text(f"ALTER TABLE {ROWS} DROP CONSTRAINT poison"))


@contextmanager
def counted(engine: Engine) -> Iterator[list[int]]:
    """The number of transactions."""
    number = [0]

    def count(_connection: object) -> None:
        number[0] += 1

    event.listen(engine, "begin", count)
    try:
        yield number
    finally:
        event.remove(engine, "begin", count)


def answered(bench: Bench) -> dict[str, list[Ack]]:
    found: dict[str, list[Ack]] = {}
    for each in bench.client.receive(1000, 0):
        if isinstance(each, Message) and each.topic.endswith("/ack"):
            found.setdefault(each.topic.split("/")[3], []).append(Ack.decode(each.payload))
    return found


def stored(fleet: Engine) -> set[tuple[str, int]]:
    query = select(tables.machine.c.name, tables.sample.c.seq).join_from(tables.sample, tables.machine)
    with fleet.connect() as connection:
        return {(row.name, row.seq) for row in connection.execute(query)}


def fleet_of(speaker: Speaker) -> list[Speaker]:
    return [Speaker(speaker.clock, name=f"m{number}") for number in range(OTHERS)]


def test_all_others_are_stored_and_acknowledged_in_the_same_step(
    bench: Bench, speaker: Speaker, poisoned: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloads = [0]
    whole = bench.ingestor._cache.load

    def reload() -> None:
        reloads[0] += 1
        whole()

    monkeypatch.setattr(bench.ingestor._cache, "load", reload)
    others = fleet_of(speaker)
    messages = [each.telemetry(1) for each in others]
    bench.publish(*messages[:40], speaker.telemetry(POISON), *messages[40:])
    with counted(poisoned) as transactions:
        bench.step()
    assert stored(poisoned) == {(each.name, 1) for each in others}
    acks = answered(bench)
    assert {each.name for each in others} <= acks.keys()
    assert [each.reason for ack in acks["attic"] for each in ack.rejected] == ["refused"]
    assert [row["reason"] for row in list_dead_letters(poisoned, limit=10)] == ["refused"]
    assert reloads == [0], "the fleet is not read again"
    assert transactions[0] < 120  # with what is read again after each of about seven refused parts


def test_a_machine_that_goes_on_is_held_and_disturbs_no_batch(
    bench: Bench, speaker: Speaker, poisoned: Engine, clock: Clock
) -> None:
    others = fleet_of(speaker)
    bench.publish(*[speaker.telemetry(POISON)] * 20, others[0].telemetry(1))
    bench.step()
    assert len(list_dead_letters(poisoned, limit=100)) == 1, "the rest of this machine is dropped"
    with counted(poisoned) as usual:
        bench.publish(*(each.telemetry(2) for each in others))
        bench.step()
    with counted(poisoned) as disturbed:
        bench.publish(*[speaker.telemetry(POISON)] * 20, *(each.telemetry(3) for each in others))
        bench.step()
    assert disturbed[0] <= usual[0] + 3
    assert len(list_dead_letters(poisoned, limit=100)) == 1
    clock.advance(HOLD_SECONDS)
    bench.publish(speaker.telemetry(1))
    bench.step()
    assert ("attic", 1) in stored(poisoned), "it is heard again after a minute"


def test_nothing_of_a_refused_part_is_acknowledged_or_counted_twice(
    bench: Bench, speaker: Speaker, poisoned: Engine
) -> None:
    other = fleet_of(speaker)[0]
    bench.publish(other.telemetry(1), speaker.telemetry(1), speaker.telemetry(POISON), speaker.telemetry(2))
    bench.step(3.0)
    bench.step(3.0)
    assert stored(poisoned) == {("m0", 1), ("attic", 1)}
    ranges = [(each.first, each.last) for ack in answered(bench)["attic"] for each in ack.ranges]
    assert ranges == [(1, 1)]
    bench.step(HOLD_SECONDS)
    bench.publish(speaker.telemetry(2))
    bench.step()
    assert stored(poisoned) == {("m0", 1), ("attic", 1), ("attic", 2)}
