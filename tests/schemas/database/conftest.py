from collections.abc import Iterator

import pytest
from seeding import Fleet
from sqlalchemy import Engine

from schemas.database.engine import open_engine


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    return Fleet(database)


@pytest.fixture
def reader(fleet: Fleet) -> Iterator[Engine]:
    """The same database, opened read-only."""
    engine = open_engine(fleet.engine.url.render_as_string(hide_password=False), read_only=True)
    yield engine
    engine.dispose()
