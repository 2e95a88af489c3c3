"""Live readings from a machine's collectors to those who look, with the ingestor between, on a controlled clock."""

from pathlib import Path

import pytest
from agent_under_test import AgentUnderTest
from clocks import Clock
from ingestion import Bench, open_bench
from ingestor_fixtures import fleet as fleet
from sqlalchemy import Engine, func, select

from agent.collection.live_readings import LiveReadings
from agent.collection.sample_runner import CollectorRunner
from agent.collector import Collector, Readings
from broker.access.policy import Principal, Role
from broker.client.live_client import LiveClient, LiveView
from broker.client.memory import MemoryTransport
from broker.client.transport import Message
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.messages import Metric
from schemas.database import tables

CHANGE_SECONDS = 1.5
CLOSED_SECONDS = 15.0


class Load(Collector):
    """A load that the test sets."""

    metrics = (Metric(name="load_1m", unit="processes", title="Load"),)
    load = 0.5

    def collect(self) -> Readings:
        return {"load_1m": self.load}


class Machine(AgentUnderTest):
    """An agent with live readings that are taken at once."""

    def start(self, **settings: object) -> None:
        self.load = Load(AgentSettings(data=self.directory, machine="attic"))
        runner = CollectorRunner([self.load], timeout_seconds=5)
        self.live = LiveReadings(lambda: runner, self.clock, start=lambda work: work())
        super().start(**settings)


class Viewer:
    """A program that looks at the machine, or has stopped to."""

    def __init__(self, machine: Machine, name: str) -> None:
        reader = Principal(Role.READER, "home", name)
        self.client = LiveClient(reader, clock=machine.clock)
        self.transport = MemoryTransport(machine.broker, client_id=reader.username, pass_time=lambda _: None)
        self.transport.receive(10, 0)
        self.view = LiveView()
        self.is_looking = True

    def step(self) -> None:
        self.client.step(self.transport)
        for event in self.transport.receive(1000, 0):
            self.client.handle(event)
        if self.is_looking:
            self.view = self.client.look("home", "attic")

    @property
    def load(self) -> float | None:
        return self.view.readings[-1].reading.vitals.load_1m if self.view.is_live else None


class World:
    """A machine, an ingestor and viewers on one broker, and what is published there."""

    def __init__(self, machine: Machine, bench: Bench) -> None:
        self.machine, self.bench = machine, bench
        self.viewers: list[Viewer] = []
        filters = [(topic.filter(), 0) for topic in (topics.LIVE, topics.WATCH)]
        self._witness = MemoryTransport(
            machine.broker, client_id="witness", subscriptions=filters, pass_time=lambda _: None
        )
        self.heard: list[tuple[float, Message]] = []

    def run(self, seconds: float) -> None:
        end = self.machine.clock.monotonic() + seconds
        while self.machine.clock.monotonic() < end:
            self.step()

    def step(self) -> None:
        self.bench.step()
        self.machine.step()  # in which the time passes
        for viewer in self.viewers:
            viewer.step()
        now = self.machine.clock.monotonic()
        self.heard += [(now, each) for each in self._witness.receive(1000, 0) if isinstance(each, Message)]

    def look(self, number: int = 1) -> list[Viewer]:
        self.viewers += [Viewer(self.machine, f"viewer-{each}") for each in range(number)]
        return self.viewers

    def messages(self, name: str) -> list[float]:
        return [at for at, message in self.heard if message.topic.endswith(name) and message.payload]


@pytest.fixture
def world(fleet: Engine, clock: Clock, tmp_path: Path) -> World:
    machine = Machine(tmp_path, clock)
    bench = open_bench(fleet, clock, machine.broker)
    world = World(machine, bench)
    world.run(20)
    return world


def stored(fleet: Engine) -> int:
    with fleet.connect() as connection:
        return connection.execute(select(func.count()).select_from(tables.sample)).scalar_one()


def test_a_change_is_seen_within_a_second_and_a_half(world: World) -> None:
    (viewer,) = world.look()
    world.run(5)
    for load in (0.7, 3.0, 0.1):
        world.machine.load.load = load
        changed_at = world.machine.clock.monotonic()
        while viewer.load != load:
            world.step()
            assert world.machine.clock.monotonic() - changed_at <= CHANGE_SECONDS


def test_it_ends_within_fifteen_seconds_after_the_last_look_and_nothing_is_published_afterwards(world: World) -> None:
    (viewer,) = world.look()
    world.run(10)
    viewer.is_looking = False
    closed_at = world.machine.clock.monotonic()
    world.run(120)
    assert world.messages("/live")
    assert max(world.messages("/live")) - closed_at < CLOSED_SECONDS
    assert max(at for at, _ in world.heard) - closed_at < CLOSED_SECONDS
    assert topics.WATCH.at(org="home", machine="attic") not in world.machine.broker.retained


def test_fifty_viewers_cost_the_machine_no_more_than_one(world: World) -> None:
    world.look()
    world.run(30)
    alone = len(world.messages("/live")), len(world.messages("/watch"))
    world.heard.clear()
    world.viewers.clear()
    world.run(20)
    world.heard.clear()
    viewers = world.look(50)
    world.run(30)
    assert all(viewer.view.is_live for viewer in viewers)
    together = len(world.messages("/live")), len(world.messages("/watch"))
    assert all(many <= one + 1 for many, one in zip(together, alone, strict=True))


def test_nothing_is_stored_of_it_and_the_samples_stay_as_they_are(world: World, fleet: Engine) -> None:
    world.run(60)
    before = stored(fleet)
    world.look()
    world.run(60)
    assert len(world.messages("/live")) > 50
    assert stored(fleet) - before in (5, 6, 7)
    with fleet.connect() as connection:
        assert connection.execute(select(tables.dead_letter)).all() == []
        assert connection.execute(select(tables.request)).all() == []


def test_live_readings_are_no_evidence_of_presence(world: World, fleet: Engine) -> None:
    world.look()
    world.machine.agent._schedule.due_at = world.machine.clock.monotonic() + 1000
    world.run(60)
    with fleet.connect() as connection:
        presence = connection.execute(select(tables.state.c.presence)).scalars().all()
    assert len(world.messages("/live")) > 50
    assert presence == ["stale"]
