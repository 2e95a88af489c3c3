"""What every test may ask for: a clock under its thumb and a database that ends with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from schemas.database import open_engine, sqlite_url, upgrade


class Clock:
    """A wall clock in milliseconds and a monotonic one in seconds that move only when told to."""

    def __init__(self) -> None:
        self.milliseconds = 1_700_000_000_000

    def now(self) -> int:
        return self.milliseconds

    def monotonic(self) -> float:
        return self.milliseconds / 1000

    def advance(self, seconds: float) -> None:
        self.milliseconds += round(seconds * 1000)


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
