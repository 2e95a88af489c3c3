"""The times at which anything is stored of some machines: a replay of a long time reads these alone."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, func, select

from schemas.database.queries.fetch import fetch_where_in
from schemas.database.tables import alert, dirty, machine, minute, pruned, transition
from schemas.fleet.history import MINUTE


def first_stored(engine: Engine, keys: Sequence[int], start: int, end: int) -> int | None:
    """Return the time from which something is stored of these machines, from `start` until before `end`; None: nothing.

    Milliseconds of the server's clock. Of samples it is the start of their minute.
    """
    if start >= end:
        return None
    kept_from = func.coalesce(
        select(pruned.c.samples_before).where(pruned.c.machine_id == machine.c.id).scalar_subquery(), 0
    )
    sampled = (
        _earliest(at, at > start - MINUTE, at < end, condition)
        for at, condition in ((minute.c.at, minute.c.at >= kept_from), (dirty.c.at, dirty.c.length == MINUTE))
    )
    happened = (_earliest(at, at >= start, at < end) for at in (transition.c.at, alert.c.started_at, alert.c.ended_at))
    found = [*sampled, *happened]
    times = [row[0] for query in found for row in fetch_where_in(engine, query, machine.c.id, keys)]
    first = min((at for at in times if at is not None), default=None)
    return None if first is None else max(first, start)


def _earliest(at: ColumnElement[int], *conditions: ColumnElement[bool]) -> Select[Any]:
    """Return the query for the first time in this column that meets the conditions, found by the index per machine."""
    own = select(func.min(at)).where(at.table.c.machine_id == machine.c.id, *conditions).scalar_subquery()
    return select(func.min(own))
