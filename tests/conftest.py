"""What every test may ask for: a clock under its thumb and a database that ends with it."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from hypothesis import settings
from servers import postgresql
from sqlalchemy import Connection, Engine, delete, exists, literal, select, text, union_all
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.database.sample_key import ROWS

pytest_plugins = ["traffic_plugin"]

# a busy machine makes no example wrong: only the time limit of a whole test counts
settings.register_profile("without-deadline", settings(), deadline=None)
settings.load_profile("without-deadline")

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, lambda *_: None)):
    # `nohup make test` and `make test &` in a script ignore one of them, and so would every program that a test starts:
    # only a signal with a handler, even one that does nothing, is back to its default in a child
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _no_state_directory_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep commands without `--data` away from the installation of the user who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL with the tables, for all tests of this process."""
    with postgresql(durable=False) as url:
        engine = open_engine(url)
        upgrade(engine)
        engine.dispose()
        yield url


@pytest.fixture
def postgresql_empty_url(postgresql_url: str) -> str:
    """That PostgreSQL, with nothing in its tables."""
    engine = open_engine(postgresql_url)
    with engine.begin() as connection:
        _empty(connection)
    engine.dispose()
    return postgresql_url


def _empty(connection: Connection) -> None:
    """Drop the tables of others, delete all rows and restart the keys. TRUNCATE would write many files each time."""
    ordered = tables.metadata.sorted_tables
    known = [*(table.name for table in ordered), ROWS, "alembic_version"]
    strange = "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
    strange += " AND relnamespace = 'public'::regnamespace AND relname <> ALL(:known)"
    for name in connection.scalars(text(strange), {"known": known}).all():
        connection.execute(text(f"DROP TABLE {name} CASCADE"))
    filled = union_all(*(select(literal(i)).where(exists().select_from(table)) for i, table in enumerate(ordered)))
    for i in sorted(connection.scalars(filled), reverse=True):
        connection.execute(delete(ordered[i]))
    keys = [f"{table.name}_{column.name}_seq" for table in ordered for column in table.primary_key]
    restart = "SELECT setval(quote_ident(sequencename)::regclass, 1, false) FROM pg_sequences"
    connection.execute(text(f"{restart} WHERE sequencename = ANY(:keys)"), {"keys": keys})


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One database after the other, empty. A file takes it by a fixture `database_url` of its own."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "fleet.db")
    return str(request.getfixturevalue("postgresql_empty_url"))


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path / "fleet.db")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite fleet database of the current version, to copy."""
    file = tmp_path_factory.mktemp("migrated") / "fleet.db"
    engine = open_engine(sqlite_url(file))
    upgrade(engine)
    engine.dispose()
    return file


@pytest.fixture
def database(database_url: str, migrated_file: Path) -> Iterator[Engine]:
    """An empty fleet database of the current version."""
    engine = open_engine(database_url)
    if engine.dialect.name == "sqlite":
        assert engine.url.database
        shutil.copyfile(migrated_file, engine.url.database)
    upgrade(engine)
    yield engine
    engine.dispose()


LAST = {"faults": 0, "bench": 0, "end_to_end": 2, "browser": 3}
LOAD = "tests/load"
BROWSING_PROCESSES = 2
LONG = ("test_first_machine", "test_settings", "test_accessibility", "test_hostile_strings", "test_states")
"""The browser tests that take longest; the processes end together if these are not the last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests that load the machine to the front, and those of the browser to the end, the longest first.

    Playwright's event loop runs on in their process, where no other could be started.
    """
    items.sort(key=lambda item: (LAST.get(_place(item.nodeid), 1), _rank(item)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """With several processes, a file stays in one, and what loads the machine is never there twice."""
    return _ByFile(config, log)


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Files, in the order of the collection, but the processes have preferences.

    Most tests wait more than they compute, so that three processes share two processors well. Those of the browser
    compute: at most two processes run them, the first when it has done the load, the second when nothing else is left.
    The third begins with the tests of whole systems, which wait the most.
    """

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        self._order: list[WorkerController] = []
        """The processes, in the order in which they got work."""

    def _split_scope(self, nodeid: str) -> str:
        return LOAD if _place(nodeid) in ("faults", "bench") else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node not in self._order:
            self._order.append(node)
        scope = next(iter(self._suitable(node)), None)
        if scope is None:
            node.shutdown()  # after the tests that it has
            return
        self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)

    def _suitable(self, node: WorkerController) -> list[str]:
        """Return what is left for a process, with what it prefers first."""
        number, begun = self._order.index(node), self.assigned_work[node]
        browses = any(_place(scope) == "browser" for scope in begun)
        if browses:  # Playwright's event loop runs on in it
            return [scope for scope in self.workqueue if _place(scope) == "browser"]
        if number >= BROWSING_PROCESSES:
            left = [scope for scope in self.workqueue if _place(scope) != "browser"]
            return sorted(left, key=lambda scope: _place(scope) != "end_to_end")
        if LOAD in begun and len(self.nodes) > 1:
            return sorted(self.workqueue, key=lambda scope: _place(scope) != "browser")
        return list(self.workqueue)


def _rank(item: pytest.Item) -> int:
    return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)


def _place(nodeid: str) -> str:
    """The folder or file directly below tests/ that an item is in."""
    return nodeid.partition("::")[0].split("/")[1]
