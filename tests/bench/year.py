"""A fleet's history as the ingestor would have left it after a year, written by the database itself from one real day.

The day is one machine's telemetry, stored and rolled up by the ingestor's own code. Its rows are then copied to every
machine, each at another hour of that day, with counters that grow. Rows are written in the order of their time, as in
life, for in a tree that is written so the pages are less full than in one that is written machine by machine.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ingestion import STREAM
from rollups import START, Keeper
from seeding import Fleet
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Integer,
    MetaData,
    Table,
    bindparam,
    insert,
    select,
)
from telemetry import telemetry

from ingestor.domain.batch import Arrived
from ingestor.domain.machine import Machine, Stream
from runtime.urls import sqlite_url
from schemas.contract.messages import Sample
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.fleet.history import HOUR, MINUTE, Retention

DAY: Final = 24 * HOUR
UNTIL: Final = START + 400 * DAY
INTERVAL: Final = 10_000
STATEMENTS_AT_ONCE: Final = 60
_GROWTH: Final = {
    "uptime_seconds": 86_400,
    "network_received_bytes": 207_360_000_000,
    "network_sent_bytes": 3_456_000_000,
}
"""By vital, how much more each day."""

_LENGTHS: Final = {"sample": INTERVAL, "minute": MINUTE, "hour": HOUR}
_KEYS: Final = ("machine_id", "at", "sampled_at")


@dataclass(frozen=True, slots=True)
class Extent:
    """How much to write: of how many machines, and how many seconds of each table."""

    machines: int
    kept: Retention = field(default_factory=Retention)

    @property
    def rows(self) -> dict[str, int]:
        """By table, how many rows that makes."""
        return {name: self.machines * steps for name, steps in self.steps.items()}

    @property
    def steps(self) -> dict[str, int]:
        """By table, how many rows of one machine."""
        seconds = (self.kept.samples_seconds, self.kept.minutes_seconds, self.kept.hours_seconds)
        lengths = _LENGTHS.items()
        return {name: kept * 1000 // length for (name, length), kept in zip(lengths, seconds, strict=True)}


def generate(
    engine: Engine,
    extent: Extent,
    *,
    directory: Path,
    until: int = UNTIL,
    say: Callable[[str], None] = lambda _: None,
) -> list[int]:
    """Write the history of machines of `home` that ends at a whole hour. Returns their keys."""
    upgrade(engine)
    fleet = Fleet(engine, now=until)
    keys = [fleet.machine(f"m{number:04}") for number in range(extent.machines)]
    days = _one_day(directory)
    with _writing(engine) as connection:
        for name, rows in days.items():
            day = _day_table(name)
            with connection.begin():
                day.create(connection)
                numbered = ({"n": number, **row} for number, row in enumerate(rows))
                connection.execute(insert(day), [{c: row[c] for c in row if c in day.c} for row in numbered])
            _copy(connection, tables.metadata.tables[name], day, steps=extent.steps[name], until=until)
            with connection.begin():
                day.drop(connection)
            say(f"{name}: {extent.rows[name]:,} rows")
    return keys


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """A connection to write much by. Without care for a crash on SQLite, where a killed generator leaves nothing."""
    engine.dispose()  # the journal's mode is changed only where nobody else has the file open
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
            connection.rollback()
        yield connection
    engine.dispose()


def _one_day(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of one machine's day, by table, as the ingestor makes them."""
    engine = open_engine(sqlite_url(directory / "day.db"))
    upgrade(engine)
    key = Fleet(engine).machine("attic")
    keeper = Keeper(engine, now=START)
    chance = random.Random(1)  # noqa: S311 - a repeatable one
    samples = [_arrived(key, number, chance) for number in range(DAY // INTERVAL)]
    for first in range(0, len(samples), 500):
        keeper.write(*samples[first : first + 500])
    keeper.finish()
    with engine.connect() as connection:
        found = {
            name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for name, table in ((name, tables.metadata.tables[name]) for name in _LENGTHS)
        }
    engine.dispose()
    assert {name: len(rows) for name, rows in found.items()} == {
        name: DAY // length for name, length in _LENGTHS.items()
    }
    return found


def _arrived(key: int, number: int, chance: random.Random) -> Arrived:
    at = START + number * INTERVAL + chance.randrange(200)
    told = telemetry(number + 1, sampled_at=at, stream=STREAM, chance=chance)
    sample = Sample(seq=told.seq, sampled_at=at, vitals=told.vitals)
    return Arrived(
        Machine(key, "home", "attic"), Stream("a", 1, created_at=0), sample, at + chance.randrange(20, 300), 0
    )


def _day_table(name: str) -> Table:
    """Where the rows of the day are while they are copied, numbered by their time."""
    columns = (
        Column(column.name, column.type) for column in tables.metadata.tables[name].c if column.name not in _KEYS
    )
    return Table(f"day_{name}", MetaData(), Column("n", Integer, primary_key=True, autoincrement=False), *columns)


def _copy(connection: Connection, table: Table, day: Table, *, steps: int, until: int) -> None:
    """Write so many steps of every machine that end at a moment, the oldest first."""
    statement, length = _one_step(table, day), _LENGTHS[table.name]
    for first in range(0, steps, STATEMENTS_AT_ONCE):
        with connection.begin():
            for step in range(first, min(first + STATEMENTS_AT_ONCE, steps)):
                at = until - (steps - step) * length
                connection.execute(statement, {"at": at, "step": at // length, "days": (at - START) // DAY})


def _one_step(table: Table, day: Table) -> Insert:
    """Writes a row of each machine."""
    at, step, days = (bindparam(name, type_=BigInteger) for name in ("at", "step", "days"))
    key = tables.machine.c.id
    values: dict[str, ColumnElement[Any]] = {"machine_id": key, "at": at, "sampled_at": at + key % 200, "seq": step}
    values |= {"sampled_from": at + key % 200, "sampled_to": at + MINUTE - 1 - key % 200}
    for column in day.c:
        growth = next((daily for name, daily in _GROWTH.items() if column.name.startswith(name)), None)
        grows = growth is not None and not column.name.endswith("_count")
        values.setdefault(column.name, column + days * growth if grows else column)
    chosen = {column.name: values[column.name] for column in table.c}
    place = (step + key * 37) % (DAY // _LENGTHS[table.name])
    rows = select(*chosen.values()).select_from(tables.machine.join(day, day.c.n == place))
    return insert(table).from_select(list(chosen), rows)
