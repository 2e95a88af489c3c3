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


LONGEST_FIRST = ("faults", "test_up.py", "browser", "test_command_line.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (pytest-xdist), a file stays in one, and what loads the machine is never there twice.

    What takes longest comes first, so that the processes end together.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("load" if _place(item) in ("faults", "bench") else str(item.path)))
    items.sort(key=lambda item: LONGEST_FIRST.index(_place(item)) if _place(item) in LONGEST_FIRST else 99)


def _place(item: pytest.Item) -> str:
    """The folder or file directly below tests/ that an item is in."""
    return item.path.relative_to(item.config.rootpath / "tests").parts[0]
