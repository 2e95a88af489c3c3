"""What every test may ask for: a clock under its thumb and a database that ends with it."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from servers import postgresql
from sqlalchemy import Engine, text
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade

pytest_plugins = ["traffic_plugin"]

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
    # `nohup make test` and `make test &` in a script ignore one of them, and so would every program that a test starts:
    # only a signal with a handler, even one that does nothing, is back to its default in a child
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL with the tables, for all tests of this process."""
    with postgresql() as url:
        engine = open_engine(url)
        upgrade(engine)
        engine.dispose()
        yield url


@pytest.fixture
def postgresql_empty_url(postgresql_url: str) -> str:
    """That PostgreSQL, with nothing in its tables."""
    engine = open_engine(postgresql_url)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(tables.metadata.tables)} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return postgresql_url


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One database after the other, empty. A file takes it by a fixture `database_url` of its own."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "fleet.db")
    return str(request.getfixturevalue("postgresql_empty_url"))


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


ORDER = {"faults": 0, "bench": 0, "cli": 1, "end_to_end": 3, "browser": 4}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that several processes end together; but the browser tests come last.

    Playwright's event loop runs on in their process, where no other could be started.
    """
    items.sort(key=lambda item: ORDER.get(_place(item.nodeid), 2))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """With several processes, a file stays in one, and what loads the machine is never there twice."""
    return _ByFile(config, log)


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        place = _place(nodeid)
        return "load" if place in ("faults", "bench") else nodeid.partition("::")[0]


def _place(nodeid: str) -> str:
    """The folder or file directly below tests/ that an item is in."""
    return nodeid.partition("::")[0].split("/")[1]
