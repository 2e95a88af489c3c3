"""Deletes old series of an organisation: readings with its minutes, roll-ups with its hours.

Invariants:
- A row that stayed as the newest of its machine is deleted before the blocks of its hour, so that no late data is
  merged with it twice.
- An hour with rows that are not in a block yet loses no row.
"""

from collections.abc import Callable
from typing import Final

from sqlalchemy import ColumnElement, Table, delete, exists, select, tuple_
from sqlalchemy.engine import Connection

from schemas.database.tables import machine, series_due, series_hour, series_rollup, series_sample
from schemas.fleet.history import HOUR, Retention

ROWS_AT_ONCE: Final = 200


def series_units(org_id: int, kept: Retention, now: int) -> list[Callable[[Connection], bool]]:
    """Return the deletions, each of some rows, which return whether there may be more."""
    readings_before = (now - kept.minutes_seconds * 1000) // HOUR * HOUR
    roll_ups_before = now - kept.hours_seconds * 1000
    its_hour = series_sample.c.at - series_sample.c.at % HOUR
    is_due = exists().where(series_due.c.machine_id == series_sample.c.machine_id, series_due.c.at == its_hour)
    ended = series_rollup.c.at + series_rollup.c.length <= roll_ups_before
    return [
        _deletion(series_sample, org_id, (series_sample.c.at < readings_before) & ~is_due),
        _deletion(series_hour, org_id, series_hour.c.at < readings_before),
        _deletion(series_rollup, org_id, (series_rollup.c.at < roll_ups_before) & ended),
    ]


def _deletion(table: Table, org_id: int, condition: ColumnElement[bool]) -> Callable[[Connection], bool]:
    key = tuple_(*table.primary_key)
    old = select(*table.primary_key).select_from(table.join(machine)).where(machine.c.org_id == org_id, condition)
    statement = delete(table).where(key.in_(old.limit(ROWS_AT_ONCE)))
    return lambda connection: connection.execute(statement).rowcount == ROWS_AT_ONCE
