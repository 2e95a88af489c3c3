"""Engines for the fleet database, and its version.

Invariants:
- SQLite runs in WAL mode with foreign keys enabled, so that readers never wait for the writer.
- A new SQLite file has pages of PAGE_BYTES and can shrink; one that exists keeps its pages, whatever their size.
- A read-only engine cannot write, whatever statement it is given.
- `upgrade` migrates an older database and rejects a newer one; it never downgrades.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from runtime.errors import UserError
from runtime.urls import without_password
from runtime.version import VERSION

PAGE_BYTES = 2048
"""Size of the pages of a new SQLite file.

Storing a sample changes three pages, each of which is written whole: with SQLite's 4,096 bytes, two thirds more would
be written for one machine. A row of a minute does not fit into a page of 1,024.
"""

_SQLITE_BUSY_MILLISECONDS = 10_000
_CHECKPOINT_PAGES = (4 << 20) // PAGE_BYTES
"""Length of the write-ahead log from which on it is copied into the file."""

_INCREMENTAL = 2
"""The mode of SQLite's `auto_vacuum` in which pages are given back on request."""

_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL = ("postgresql", "postgresql+psycopg")
_POSTGRESQL_TIMES = {  # detect a server that disappeared within about ten seconds
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_MIGRATIONS = Path(__file__).parent / "migrations"


class DatabaseError(UserError):
    """The database cannot be used; the message is one sentence for the operator."""


def open_engine(url: str, *, read_only: bool = False) -> Engine:
    """Return an engine for a URL sqlite:///… or postgresql+psycopg://…. Raises DatabaseError for any other."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is no number
        raise DatabaseError("the database must be a URL such as sqlite:////var/lib/dashfleet/dashfleet.db") from None
    if parsed.drivername in _SQLITE:
        return _sqlite(parsed, read_only=read_only)
    if parsed.drivername not in _POSTGRESQL:
        raise DatabaseError(f"the database must be sqlite:///… or postgresql+psycopg://…, not {parsed.drivername}://…")
    try:
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=_POSTGRESQL_TIMES)
    except ImportError:
        raise DatabaseError("the database needs PostgreSQL's driver: install dashfleet[postgresql]") from None
    if read_only:
        event.listen(engine, "connect", _postgresql_read_only)
    return engine


def upgrade(engine: Engine) -> None:
    """Create or migrate the tables. Raises DatabaseError if they are newer, or the database cannot be opened.

    Alembic, which takes 11 MiB, is imported only if there is something to do.
    """
    try:
        if _revision(engine) != newest_revision():
            _migrate_all(engine)
        if engine.dialect.name == "sqlite":
            _let_the_file_shrink(engine)
    except DBAPIError as error:
        raise DatabaseError(f"cannot open {_shown(engine)}: {_first_line(error)}") from None


def _migrate_all(engine: Engine) -> None:
    from alembic.util import CommandError

    try:
        with engine.begin() as connection:
            migrate(connection)
    except CommandError as error:
        if "Can't locate revision" in str(error):
            raise _newer(engine, str(error).rpartition(" ")[2].strip("'")) from None
        raise


def present_revision(engine: Engine) -> str | None:
    """Return the revision of the tables, None if there are none. Raises DatabaseError."""
    try:
        return _revision(engine)
    except DBAPIError as error:
        raise DatabaseError(f"cannot open {_shown(engine)}: {_first_line(error)}") from None


def migrate(connection: Connection, revision: str = "head") -> None:
    """Run the migrations in this connection's transaction. Raises the errors of Alembic and of the database."""
    from alembic import command

    configuration = _alembic_configuration()
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, revision)


def require_current(engine: Engine) -> None:
    """Raise DatabaseError unless the tables have exactly this version. Does not import Alembic, which takes long."""
    if engine.dialect.name == "sqlite" and not sqlite_file(engine).exists():  # connecting would create it
        raise DatabaseError(
            f"cannot open {_shown(engine)}: there is no such file. Name the fleet's state directory with --data, or "
            "its database in dashfleet.toml; for a new fleet run dashfleet up or dashfleet setup first"
        )
    try:
        found = _revision(engine)
    except DBAPIError as error:
        raise DatabaseError(f"cannot open {_shown(engine)}: {_first_line(error)}") from None
    if found is not None and found > newest_revision():
        raise _newer(engine, found)
    if found != newest_revision():
        raise DatabaseError(
            f"{_shown(engine)} is not of this version of DashFleet (it is at {found or 'nothing'}): "
            "start the ingestor of this version first, or install the version that wrote it"
        )


@contextmanager
def readable_errors(engine: Engine) -> Iterator[None]:
    """Raise a DatabaseError in place of an error that is not ours: the database is locked, full, or away."""
    try:
        yield
    except OperationalError as error:
        raise DatabaseError(f"cannot use {_shown(engine)}: {_first_line(error)}") from None


def newest_revision() -> str:
    """Return the revision of this version: the highest number of a file in `migrations/versions`."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def shown_url(engine: Engine) -> str:
    """Return the engine's URL without its password."""
    return without_password(engine.url.render_as_string(hide_password=False))


def storable(text: str) -> str:
    """Return the text in a form for both databases: PostgreSQL rejects NUL, both reject a lone surrogate."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        has_version = inspect(connection).has_table("alembic_version")
        return connection.scalar(text("SELECT version_num FROM alembic_version")) if has_version else None


def _sqlite(url: URL, *, read_only: bool) -> Engine:
    if read_only:
        url = url.set(database=f"file:{quote(url.database or '', safe='/:')}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:  # noqa: ANN401 - sqlite3's connection behind any driver
        connection.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_MILLISECONDS}")
        connection.execute("PRAGMA foreign_keys = ON")
        if read_only:
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # else ATTACH could open the same file for writing
        else:
            if connection.execute("PRAGMA page_count").fetchone()[0] == 0:  # on another file it waits for the writer
                connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                connection.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute("PRAGMA synchronous = FULL")

    return engine


def _let_the_file_shrink(engine: Engine) -> None:
    """Let a SQLite file give back deleted pages in small steps. A file without this mode is rewritten once."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() != _INCREMENTAL:
            connection.exec_driver_sql(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            connection.exec_driver_sql("VACUUM")


def _postgresql_read_only(connection: Any, _: object) -> None:  # noqa: ANN401 - psycopg's connection
    connection.read_only = True


def _alembic_configuration() -> Any:  # noqa: ANN401 - alembic is imported only where it is used
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS))
    return configuration


def _newer(engine: Engine, found: str) -> DatabaseError:
    return DatabaseError(
        f"{_shown(engine)} is newer (revision {found}) than this version of DashFleet ({VERSION}, revision "
        f"{newest_revision()}): install the version that wrote it"
    )


def sqlite_file(engine: Engine) -> Path:
    """Return the file of a SQLite database."""
    name = engine.url.database or ""
    return Path(unquote(name.removeprefix("file:")) if name.startswith("file:") else name)


def _shown(engine: Engine) -> str:
    if engine.dialect.name == "sqlite":
        return f"the database {sqlite_file(engine)}"
    return f"the database {shown_url(engine)}"


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]
