"""A small fleet in a database, and an ingestor for it."""

from collections.abc import Callable

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine

from broker.access import Principal, Role
from broker.memory import MemoryBroker, MemoryTransport
from ingestor.admin import add_org, add_principal
from ingestor.ingestor import Ingestor
from ingestor.store import Store
from schemas import topics


@pytest.fixture
def speaker(clock: Clock) -> Speaker:
    return Speaker(clock)


@pytest.fixture
def fleet(database: Engine, clock: Clock) -> Engine:
    """A database with the organisations home and office, and a machine called attic in each."""
    for org in ("home", "office"):
        add_org(database, org, now=clock.now)
        add_principal(database, Principal(Role.MACHINE, org, "attic"), "made-up", now=clock.now)
    return database


@pytest.fixture
def make_bench(fleet: Engine, clock: Clock) -> Callable[[], Bench]:
    """Starts an ingestor, connected and past its first step; each call makes another one on the same database."""
    broker = MemoryBroker()

    def make() -> Bench:
        ingestor = Ingestor(
            store=Store(fleet, name="ingestor", dead_letter_max=100),
            open_transport=lambda *, subscriptions: MemoryTransport(
                broker, client_id="_ingestor", subscriptions=subscriptions, pass_time=lambda _: None
            ),
            batch_max=100,
            ack_seconds=2.0,
            now=clock.now,
            monotonic=clock.monotonic,
        )
        client = MemoryTransport(
            broker,
            client_id="client",
            subscriptions=[(topics.ACK.filter(), 0), (topics.ORG_CONFIG.filter(), 1)],
            pass_time=lambda _: None,
        )
        client.receive(100, 0)
        bench = Bench(broker, ingestor, client, clock)
        bench.step(steps=2)
        return bench

    return make


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    return make_bench()
