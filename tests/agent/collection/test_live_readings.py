"""Live readings of an agent: while a lease lasts, beside the samples, and bounded whatever arrives."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from agent_under_test import OWN, AgentUnderTest, Load, Warmth
from clocks import Clock

from agent.collection.live_readings import LiveReadings
from agent.collection.sample_runner import CollectorRunner
from agent.collector import Collector, Readings
from schemas.contract import topics
from schemas.contract.live import LEASE_MAX_SECONDS, Live, LiveLease
from schemas.contract.messages import Metric


class Number(Collector):
    """Counts its calls, so that a test can tell the collectors of samples from those of live readings."""

    metrics = (Metric(name="number", unit="count", title="Number"),)
    calls = 0

    def collect(self) -> Readings:
        self.calls += 1
        return {"number": self.calls}


class Watched(AgentUnderTest):
    """An agent with live readings, whose passes run when the test says so."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.is_slow = False
        super().__init__(directory, clock)

    def start(self, **settings: Any) -> None:  # noqa: ANN401 - fields of AgentSettings
        self.live = self.watching = LiveReadings(self.new_runner, self.clock, start=self.take)
        super().start(**settings)

    def new_runner(self) -> CollectorRunner:
        return CollectorRunner([Warmth(self.settings), Load(self.settings), Number(self.settings)], timeout_seconds=5)

    def take(self, work: Callable[[], None]) -> None:
        if self.is_slow:
            self.waiting.append(work)
        else:
            work()

    def lease(self, seconds: float = 8.0, id_: str = "0" * 32, *, retain: bool = False) -> None:
        self.publish(topics.WATCH, LiveLease(id=id_, seconds=seconds).encode(), retain=retain)

    @property
    def readings(self) -> list[Live]:
        return [Live.decode(message.payload) for message in self._heard(topics.LIVE)]


@pytest.fixture
def machine(tmp_path: Path, clock: Clock) -> Iterator[Watched]:
    found = Watched(tmp_path, clock)
    yield found
    found.kill()


def test_nothing_is_read_or_published_while_nobody_looks(machine: Watched) -> None:
    machine.run(120)
    assert machine.readings == []
    assert machine.watching._runner is None
    assert machine.watching.due_at == float("inf")


def test_readings_come_every_second_until_the_lease_ends_by_itself(machine: Watched) -> None:
    machine.lease(8.0)
    machine.run(60)
    assert 6 <= len(machine.readings) <= 8
    first, second = machine.readings[:2]
    assert 900 <= second.at - first.at <= 1100
    assert first.vitals.load_1m == 0.5
    assert first.extra["warmth"] == 20.0
    assert first.session == machine.statuses[-1].session


def test_the_first_pass_is_not_shown_because_rates_need_two(machine: Watched) -> None:
    machine.lease()
    machine.run(3)
    assert machine.readings[0].extra["number"] == 2


def test_samples_are_the_same_whether_somebody_looks_or_not(machine: Watched) -> None:
    machine.run(60)
    before = len(machine.samples)
    for _ in range(15):
        machine.lease()
        machine.run(4)
    samples = machine.samples[before:]
    assert len(machine.readings) > 50
    assert 5 <= len(samples) <= 7
    assert [later.seq - sample.seq for sample, later in pairwise(samples)] == [1] * (len(samples) - 1)
    assert all("number" not in sample.extra for sample in samples)


def test_no_sample_waits_for_readings_that_hang_and_they_are_not_queued(machine: Watched) -> None:
    machine.is_slow = True
    for _ in range(20):
        machine.lease()
        machine.run(3)
    assert 5 <= len(machine.samples) <= 8
    assert len(machine.waiting) == 1
    assert machine.readings == []


def test_an_empty_payload_ends_the_lease_at_once(machine: Watched) -> None:
    machine.lease()
    machine.run(3)
    machine.publish(topics.WATCH, b"", retain=True)
    machine.step()
    before = len(machine.readings)
    machine.run(10)
    assert 0 < before == len(machine.readings)


def test_a_retained_lease_begins_live_readings_of_a_machine_that_returns_once(machine: Watched) -> None:
    machine.lease(retain=True)
    machine.run(20)
    before = len(machine.readings)
    assert 6 <= before <= 8
    for _ in range(5):
        machine.transport.cut()
        machine.run(30)
    assert len(machine.readings) == before


def test_a_leap_of_the_wall_clock_neither_ends_nor_extends_a_lease(machine: Watched, clock: Clock) -> None:
    machine.lease(8.0)
    machine.run(2)
    clock.set_by(-86_400)
    machine.run(2)
    assert len(machine.readings) >= 3
    clock.set_by(10 * 86_400)
    machine.run(60)
    assert len(machine.readings) <= 8


@pytest.mark.parametrize(
    "payload",
    [
        b"nonsense",
        b'{"v": 1, "id": "00000000000000000000000000000000", "seconds": 1e9}',
        b'{"v": 1, "id": "00000000000000000000000000000000", "seconds": -1}',
        b'{"v": 1, "id": "00000000000000000000000000000000", "seconds": NaN}',
        b'{"v": 1, "seconds": 8}',
    ],
)
def test_an_invalid_lease_is_counted_and_begins_nothing(machine: Watched, payload: bytes) -> None:
    machine.publish(topics.WATCH, payload)
    machine.run(10)
    assert machine.readings == []
    assert machine.agent.rejected == 1


def test_a_flood_of_leases_is_one_lease(machine: Watched) -> None:
    for number in range(1000):
        machine.lease(LEASE_MAX_SECONDS, f"{number:032x}")
    machine.run(100)
    assert len(machine.readings) <= LEASE_MAX_SECONDS
    assert len(machine.samples) >= 9


def test_without_a_connection_nothing_is_read(machine: Watched) -> None:
    machine.lease(LEASE_MAX_SECONDS)
    machine.run(2)
    before = len(machine.readings)
    machine.broker.stop()
    machine.run(5)
    assert len(machine.readings) == before


def test_the_inventory_says_that_a_machine_has_live_readings(machine: Watched) -> None:
    assert machine.infos[-1].live_interval_seconds == 1.0
    assert topics.WATCH.at(**OWN) in dict(machine.agent._transport._subscriptions)  # type: ignore[attr-defined]
