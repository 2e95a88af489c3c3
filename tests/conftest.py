"""What every test may ask for: a clock under its thumb and a database that ends with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from sqlalchemy import Engine

from schemas.database import open_engine, upgrade
from schemas.urls import sqlite_url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "fleet.db")


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """An empty fleet database of the current version."""
    engine = open_engine(database_url)
    upgrade(engine)
    yield engine
    engine.dispose()
