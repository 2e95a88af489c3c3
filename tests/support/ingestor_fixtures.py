"""Fixtures: a small fleet in a database, and an ingestor for it. A conftest imports them where they are needed."""

from collections.abc import Callable

import pytest
from clocks import Clock
from ingestion import Bench, Speaker, open_bench
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker
from ingestor.admin.access import add_org, add_principal


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
        bench = open_bench(fleet, clock, broker)
        bench.step(steps=2)
        return bench

    return make


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    return make_bench()
