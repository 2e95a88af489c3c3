"""Online backup of the fleet's database into one file, and restore from it.

Invariants:
- A backup is a SQLite file with the same tables, whichever database it came from, so it can be restored into either.
- It is a consistent snapshot, also while the ingestor writes, and never makes the ingestor wait.
- A file gets its name only when it is complete, was verified, and is on disk. No file is ever overwritten.
- A restore is atomic, and only into an empty target.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import JSON, Column, Engine, MetaData, Table, func, insert, inspect, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from ingestor.history import partitions
from runtime import files
from runtime.errors import UserError
from runtime.urls import sqlite_url
from schemas.database.engine import DatabaseError, migrate, newest_revision, open_engine, shown_url, upgrade
from schemas.database.tables import machine, metadata, sample
from schemas.fleet.history import DAY

ROWS_AT_ONCE = 1000
DAYS_MAX = 60
"""Days that get a partition of samples on PostgreSQL; samples of other days share one."""

Told = Callable[[str, int], None]
"""Called with a table's name and the number of its rows copied since the last call."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Content of a backup."""

    machines: int
    samples: int
    size_bytes: int


def back_up(
    engine: Engine, file: Path, *, revision: str | None = None, tell: Told = lambda _table, _rows: None
) -> Contents:
    """Write a snapshot of the database to a new file that only its owner can read.

    `revision`: that of the tables, if it is an older one than this version's.

    Raises UserError if the file exists or cannot be written.
    """
    with _failing_as(f"cannot back up to {file}"), files.new(file) as written:
        if engine.dialect.name == "sqlite":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM INTO :file"), {"file": str(written)})
        else:
            _fetch(engine, written, revision, tell)
        return look_into(written)


def restore(file: Path, engine: Engine, *, tell: Told = lambda _table, _rows: None) -> Contents:
    """Restore a backup, of this version or an older one, into a new SQLite file or an empty database.

    Raises UserError if the target is not empty, the file is no backup, or a newer version wrote it.
    """
    contents = look_into(file)
    with _failing_as(f"cannot restore {file} into {shown_url(engine)}"):
        if engine.dialect.name == "sqlite":
            with files.new(Path(engine.url.database or "")) as written:
                _copy_up(file, written)
        else:
            if set(inspect(engine).get_table_names()) & {*metadata.tables, "alembic_version"}:
                raise UserError(f"{shown_url(engine)} is not empty, and no data is overwritten: name an empty database")
            with tempfile.TemporaryDirectory() as directory:
                copied = Path(directory, file.name)
                _copy_up(file, copied)
                with _opened(copied, read_only=True) as current:
                    _send(current, engine, tell)
    return contents


def look_into(file: Path) -> Contents:
    """Verify a backup and return its content. Raises UserError if it is no backup, or damaged."""
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    with (
        _failing_as(f"{file} is no backup of DashFleet, or it is damaged"),
        _opened(file, read_only=True) as engine,
        engine.connect() as connection,
    ):
        found = connection.scalar(text("PRAGMA integrity_check"))
        if found != "ok":
            raise UserError(f"{file} is damaged: {found}")
        if connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() > newest_revision():
            raise UserError(f"{file} was written by a newer version of DashFleet: install that version to restore it")
        machines = connection.scalar(select(func.count()).select_from(machine)) or 0
        samples = connection.scalar(select(func.count()).select_from(sample)) or 0
    return Contents(machines, samples, file.stat().st_size)


def _copy_up(file: Path, copied: Path) -> None:
    """Copy a backup, and migrate the copy to this version."""
    shutil.copyfile(file, copied)
    copied.chmod(0o600)
    with _opened(copied) as engine:
        upgrade(engine)
    _make_one_file(copied)


def _make_one_file(file: Path) -> None:
    """Merge the write-ahead log of a SQLite file into it."""
    with _opened(file) as engine, engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")


def _fetch(source: Engine, file: Path, revision: str | None, tell: Told) -> None:
    """Copy a PostgreSQL database into a new SQLite file; one of an older revision into tables of that revision."""
    with _opened(file) as target:
        found = metadata
        if revision is None:
            upgrade(target)
        else:
            with target.begin() as creating:
                migrate(creating, revision)
            found = MetaData()
            found.reflect(target)
        reading = source.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with reading, target.begin() as writing:
            _copy(found, reading, writing, tell)
    _make_one_file(file)


def _send(source: Engine, target: Engine, tell: Told) -> None:
    """Copy a SQLite file into an empty PostgreSQL database."""
    with target.begin() as writing:
        migrate(writing)
        with source.connect() as reading:
            days = _days_of(reading)
            while partitions.make_day(writing, days):
                pass
            _copy(metadata, reading, writing, tell)
        for table in metadata.sorted_tables:
            if (column := table.autoincrement_column) is not None:
                _go_on_counting(writing, table, column)


def _days_of(reading: Connection) -> list[int]:
    """Return the days (since 1970) with the most samples."""
    day = (sample.c.sampled_at // DAY).label("day")
    query = select(day).where(sample.c.sampled_at.between(0, partitions.LAST))
    query = query.group_by(day).order_by(func.count().desc()).limit(DAYS_MAX)
    return [int(found) for found in reading.scalars(query)]


def _copy(tables: MetaData, reading: Connection, writing: Connection, tell: Told) -> None:
    for table in (each for each in tables.sorted_tables if each.name != "alembic_version"):
        statement = insert(_with_nulls(table))
        rows = reading.execution_options(yield_per=ROWS_AT_ONCE).execute(select(table)).mappings()
        for some in rows.partitions():
            writing.execute(statement, [dict(row) for row in some])
            tell(table.name, len(some))


def _with_nulls(table: Table) -> Table:
    """Return the table with JSON columns that store None as NULL, not as JSON's `null`."""
    twin = table.to_metadata(MetaData())
    for column in twin.columns:
        if isinstance(column.type, JSON):
            column.type = JSON(none_as_null=True)
    return twin


def _go_on_counting(connection: Connection, table: Table, column: Column[int]) -> None:
    """Set PostgreSQL's sequence behind the highest copied id."""
    highest = connection.scalar(select(func.max(column)))
    sequence = func.pg_get_serial_sequence(f'"{table.name}"', column.name)
    if highest is not None:
        connection.execute(select(func.setval(sequence, highest)))


@contextmanager
def _opened(file: Path, *, read_only: bool = False) -> Iterator[Engine]:
    engine = open_engine(sqlite_url(file), read_only=read_only)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _failing_as(what: str) -> Iterator[None]:
    """Turn errors of the disk or a database into one sentence."""
    try:
        yield
    except DatabaseError:
        raise
    except DBAPIError as error:
        raise DatabaseError(f"{what}: {str(error.orig).partition(chr(10))[0]}") from None
    except FileExistsError as error:
        raise UserError(f"the file {error} exists already: name a new one") from None
    except OSError as error:
        raise UserError(f"{what}: {error.strerror}") from None
