"""Daily partitions of the table of samples on PostgreSQL: created ahead, and dropped as a whole.

Invariants:
- A day is one of the machines' clocks (`sample.sampled_at`, UTC). A sample always has a partition: outside the existing
  days (a clock that is far off, a day that was dropped) it is `sample_other`.
- A day is dropped when no organisation keeps any of it and everything before its end is rolled up. Then each sample
  from before its end *by the server's clock* is deleted, and no other; `pruned.samples_before` of every machine is set
  in the same transaction.
- Dropping does not wait for long: if another transaction reads the table (a backup, an export), it is tried again an
  hour later.
"""

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from sqlalchemy import exists, func, literal, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from schemas.database.sample_key import CLOCK_OFFSET, ROWS, unique_index
from schemas.database.tables import dirty, machine, pruned
from schemas.fleet.history import DAY, MINUTE

DAYS_BACK: Final = 2
DAYS_AHEAD: Final = 3
"""Days created ahead: time for which no ingestor may run before samples go to `sample_other`."""

LAST: Final = 253_402_300_799_999
"""The end of the year 9999, the last that has dates."""

LOCK_MILLISECONDS: Final = 200
_LOCK_NOT_AVAILABLE: Final = "55P03"

_BOUNDS = re.compile(r"FROM \((?:'(-?\d+)'|MINVALUE)\) TO \('(-?\d+)'\)")
_PARTITIONS = text(
    "SELECT part.relname, pg_get_expr(part.relpartbound, part.oid) FROM pg_inherits "
    "JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid WHERE pg_inherits.inhparent = to_regclass(:rows)"
).bindparams(rows=ROWS)

log = logging.getLogger(__name__)


class Partition(NamedTuple):
    """A partition of whole days: its name, and its bounds in milliseconds of the machines' clocks.

    `first` is None for the one that holds everything from before samples were partitioned.
    """

    name: str
    first: int | None
    end: int


def partitions(connection: Connection) -> list[Partition]:
    """Return the partitions of whole days, oldest first."""
    found = []
    for name, bounds in connection.execute(_PARTITIONS):
        if (match := _BOUNDS.search(bounds)) is not None:
            found.append(Partition(name, None if match[1] is None else int(match[1]), int(match[2])))
    return sorted(found, key=lambda partition: partition.end)


def wanted(now: int, before: int) -> range:
    """Return the days (since 1970) to have partitions at this time, if samples from before `before` are not kept."""
    today = now // DAY
    return range(max(today - DAYS_BACK, before // DAY), today + DAYS_AHEAD + 1)


def make_day(connection: Connection, days: Iterable[int]) -> bool:
    """Create the first missing one of these days, with its rows of `sample_other`; return False if none is missing."""
    existing = partitions(connection)
    for day in days:
        first, end = day * DAY, (day + 1) * DAY
        if not any((other.first is None or other.first < end) and first < other.end for other in existing):
            _make(connection, first, end)
            return True
    return False


def drop_day(connection: Connection, before: int) -> bool:
    """Drop the oldest day if it ended before this server time; return whether there may be another."""
    oldest = next(iter(partitions(connection)), None)
    if oldest is None or oldest.end > before:
        return False
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'"))
    connection.execute(
        text(f"LOCK TABLE {ROWS}, machine IN ACCESS EXCLUSIVE MODE")
    )  # machine: because of the foreign key
    waiting = select(exists().where(dirty.c.length == MINUTE, dirty.c.at < oldest.end))
    if connection.scalar(waiting):
        return False
    end, older = oldest.end, f"sampled_at + ({CLOCK_OFFSET}) < {oldest.end}"
    for statement in (
        f"ALTER TABLE {ROWS} DETACH PARTITION {oldest.name}",
        # Samples of slow clocks: by the server's clock they are newer.
        f"INSERT INTO {ROWS} SELECT * FROM {oldest.name} WHERE ({CLOCK_OFFSET}) > 0 AND NOT {older}",  # noqa: S608
        f"DROP TABLE {oldest.name}",
        # Samples of fast clocks, and those that came late or never had a day.
        f"DELETE FROM {ROWS} WHERE sampled_at >= {end} AND ({CLOCK_OFFSET}) < 0 AND {older}",  # noqa: S608
        f"DELETE FROM sample_other WHERE {older}",  # noqa: S608
    ):
        connection.execute(text(statement))
    _record_pruned(connection, oldest.end)
    log.info("dropped the samples of a day: %s", oldest.name)
    return True


def is_in_use(error: OperationalError) -> bool:
    """Return whether another transaction held the table for too long."""
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _make(connection: Connection, first: int, end: int) -> None:
    name = f"sample_{datetime.fromtimestamp(first / 1000, UTC):%Y%m%d}"
    moved = f"DELETE FROM sample_other WHERE sampled_at >= {first} AND sampled_at < {end} RETURNING *"  # noqa: S608
    for statement in (
        f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'",
        f"CREATE TABLE {name} (LIKE {ROWS} INCLUDING ALL)",
        unique_index(name),
        f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved",  # noqa: S608
        f"ALTER TABLE {ROWS} ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})",
    ):
        connection.execute(text(statement))


def _record_pruned(connection: Connection, before: int) -> None:
    everyone = select(machine.c.id, literal(before), literal(0))
    statement = postgresql.insert(pruned).from_select(["machine_id", "samples_before", "minutes_before"], everyone)
    higher = func.greatest(pruned.c.samples_before, statement.excluded.samples_before)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[pruned.c.machine_id], set_={"samples_before": higher})
    )
