"""The table of samples on PostgreSQL, which is partitioned by day: days are made ahead, and dropped whole.

Invariants:
- A day is one of the machines' clocks (`sample.sampled_at`, UTC). A sample always has a place: what is of no day that
  there is (a clock that is wrong by far, a day that was dropped) goes to the partition `sample_other`.
- A day is dropped when nobody keeps anything of it any more and all before its end is rolled up. Then each sample from
  before its end *by the server's clock* is gone, and no other; every machine's `pruned.samples_before` says so in the
  same transaction.
- Nobody waits long for it: whoever reads the table for longer (a backup, an export) makes it come again an hour later.
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

from schemas.database.tables import dirty, machine, pruned
from schemas.fleet.history import DAY, MINUTE

DAYS_BACK: Final = 2
DAYS_AHEAD: Final = 3
"""So long may the ingestor be away, or busy with other things, before samples go to `sample_other`."""

LAST: Final = 253_402_300_799_999
"""The end of the last year that there are dates for, 9999."""

LOCK_MILLISECONDS: Final = 200
_LOCK_NOT_AVAILABLE: Final = "55P03"

_BOUNDS = re.compile(r"FROM \((?:'(-?\d+)'|MINVALUE)\) TO \('(-?\d+)'\)")
_PARTITIONS = text(
    "SELECT part.relname, pg_get_expr(part.relpartbound, part.oid) FROM pg_inherits "
    "JOIN pg_class AS part ON part.oid = pg_inherits.inhrelid WHERE pg_inherits.inhparent = to_regclass('sample')"
)

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """A partition that holds days: its name, and its bounds in milliseconds of the machines' clocks.

    The first one may begin at no time at all: what there was before samples were partitioned.
    """

    name: str
    first: int | None
    end: int


def parts(connection: Connection) -> list[Part]:
    """The partitions that hold days, the oldest first."""
    found = []
    for name, bounds in connection.execute(_PARTITIONS):
        if (match := _BOUNDS.search(bounds)) is not None:
            found.append(Part(name, None if match[1] is None else int(match[1]), int(match[2])))
    return sorted(found, key=lambda part: part.end)


def wanted(now: int, before: int) -> range:
    """The days, counted since 1970, that there should be at this time, when nobody keeps what was before the other."""
    today = now // DAY
    return range(max(today - DAYS_BACK, before // DAY), today + DAYS_AHEAD + 1)


def make_day(connection: Connection, days: Iterable[int]) -> bool:
    """Make the first of these days that is not there, with what `sample_other` has of it. False: they all are."""
    there = parts(connection)
    for day in days:
        first, end = day * DAY, (day + 1) * DAY
        if not any((part.first is None or part.first < end) and first < part.end for part in there):
            _make(connection, first, end)
            return True
    return False


def drop_day(connection: Connection, before: int) -> bool:
    """Drop the oldest day if it ended before this time, by the server's clock. Returns whether there may be another."""
    oldest = next(iter(parts(connection)), None)
    if oldest is None or oldest.end > before:
        return False
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'"))
    connection.execute(text("LOCK TABLE sample, machine IN ACCESS EXCLUSIVE MODE"))  # machine: for the foreign key
    waiting = select(exists().where(dirty.c.length == MINUTE, dirty.c.at < oldest.end))
    if connection.scalar(waiting):
        return False
    end, older = oldest.end, f"sampled_at + clock_offset_milliseconds < {oldest.end}"
    for statement in (
        f"ALTER TABLE sample DETACH PARTITION {oldest.name}",
        # Of clocks that were slow: by the server's, these are not so old.
        f"INSERT INTO sample SELECT * FROM {oldest.name} WHERE clock_offset_milliseconds > 0 AND NOT {older}",  # noqa: S608
        f"DROP TABLE {oldest.name}",
        # Of clocks that were fast; and what came late, or never had a day.
        f"DELETE FROM sample WHERE sampled_at >= {end} AND clock_offset_milliseconds < 0 AND {older}",  # noqa: S608
        f"DELETE FROM sample_other WHERE {older}",  # noqa: S608
    ):
        connection.execute(text(statement))
    _note(connection, oldest.end)
    log.info("the samples of a day are dropped: %s", oldest.name)
    return True


def is_in_use(error: OperationalError) -> bool:
    """Whether somebody else had the table for too long."""
    return getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _make(connection: Connection, first: int, end: int) -> None:
    name = f"sample_{datetime.fromtimestamp(first / 1000, UTC):%Y%m%d}"
    moved = f"DELETE FROM sample_other WHERE sampled_at >= {first} AND sampled_at < {end} RETURNING *"  # noqa: S608
    for statement in (
        f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'",
        f"CREATE TABLE {name} (LIKE sample INCLUDING ALL)",
        f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved",  # noqa: S608
        f"ALTER TABLE sample ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})",
    ):
        connection.execute(text(statement))


def _note(connection: Connection, before: int) -> None:
    everybody = select(machine.c.id, literal(before), literal(0))
    statement = postgresql.insert(pruned).from_select(["machine_id", "samples_before", "minutes_before"], everybody)
    higher = func.greatest(pruned.c.samples_before, statement.excluded.samples_before)
    connection.execute(
        statement.on_conflict_do_update(index_elements=[pruned.c.machine_id], set_={"samples_before": higher})
    )
