from collections.abc import Iterator

import pytest
from clocks import Clock
from http_api import HttpApi
from seeding import Fleet
from sqlalchemy import Engine

from schemas.database.engine import open_engine


@pytest.fixture
def own_reader(fleet: Fleet) -> Iterator[Engine]:
    """The database opened read-only, not connected yet, so that a test can limit the time of its queries."""
    engine = open_engine(fleet.engine.url.render_as_string(hide_password=False), read_only=True)
    yield engine
    engine.dispose()


@pytest.fixture
def api(own_reader: Engine, accounts: Engine, clock: Clock) -> HttpApi:
    return HttpApi.over(own_reader, accounts, clock)


@pytest.fixture
def fleet(database: Engine, clock: Clock) -> Fleet:
    """An empty fleet with two organisations, whose ingestor is alive."""
    long_ago = Fleet(database, now=clock.now() - 400 * 86_400_000)
    long_ago.org("home")
    long_ago.org("other")
    fleet = Fleet(database, now=clock.now())
    fleet.beat(clock.now())
    return fleet
