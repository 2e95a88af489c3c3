from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from seeding import Fleet
from sqlalchemy import Engine

from dashboard.auth import passwords
from dashboard.auth.auth_database import open_auth_database
from runtime.urls import sqlite_url
from schemas.database.engine import open_engine


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    return Fleet(database)


@pytest.fixture
def reader(fleet: Fleet) -> Iterator[Engine]:
    """The same database, opened read-only as by the dashboard."""
    engine = open_engine(fleet.engine.url.render_as_string(hide_password=False), read_only=True)
    yield engine
    engine.dispose()


@pytest.fixture
def accounts_url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "auth" / "auth.db")


@pytest.fixture
def accounts(accounts_url: str) -> Iterator[Engine]:
    engine = open_auth_database(accounts_url)
    yield engine
    engine.dispose()


@pytest.fixture
def quick_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id with minimal cost, for tests that are not about passwords."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    monkeypatch.setattr(passwords, "_UNKNOWN_USER", hasher.hash("nobody"))
