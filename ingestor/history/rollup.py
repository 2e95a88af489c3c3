"""Rolls samples up by minute, and minutes by hour, in small steps between batches.

Invariants:
- A mark (`ingestor.storage.rollup_marks`) is written in the transaction of its samples, and deleted in the one that
  rolls them up. A crash in between repeats work, and loses none.
- A minute is computed from all its samples, an hour from all its minutes: late, duplicate or reordered data makes no
  difference.
- A step holds at most ROWS_MAX samples in memory, however many one minute has.
- Only where those were pruned already, new ones are merged into the stored roll-up and deleted in the same transaction.
- One ingestor rolls up, any may mark: marks are locked before their samples are read, so a mark that is set meanwhile
  waits, and is there afterwards.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Any, Final

from sqlalchemy import Select, Subquery, Table, and_, bindparam, case, delete, select, tuple_
from sqlalchemy.engine import Connection, Row

from ingestor.storage.bulk import dialect_insert
from ingestor.storage.rollup_marks import mark as new_mark
from ingestor.storage.store import Store
from schemas.contract.messages import VITALS
from schemas.database.tables import dirty, hour, minute, pruned, sample
from schemas.fleet.history import HOUR, MINUTE, Summary, merge, merge_extras, sum_up, sum_up_extras

MARKS_MAX: Final = 400
ROWS_MAX: Final = 4_000
"""Bounds of one step: minutes, halved while they have more samples than this; a quarter as many hours."""

HOUR_DELAY: Final = 15 * MINUTE
"""Minimum time between two roll-ups of an hour, in milliseconds."""

Keys = list[tuple[int, int]]
"""Marks of one length: machine and start."""


class Rollup:
    """Rolls up the marked minutes and hours of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._insert: Any = dialect_insert(store.engine)
        self._limit = MARKS_MAX

    def step(self, now: int) -> bool:
        """Roll up some of the marks that are due; return whether there were any."""
        with self._store.begin() as connection:
            minutes = self._roll_minutes(connection, now)
            if not minutes and not self._roll_hours(connection, now):
                return False
        self._store.marks.rolled_up(minutes)
        return True

    def _roll_minutes(self, connection: Connection, now: int) -> list[tuple[int, int]]:
        rolled: list[dict[str, Any]] = []
        hours: dict[tuple[int, int], dict[str, Any]] = {}
        late: list[dict[str, int]] = []
        for mark, found in _by_mark(_read(connection, MINUTE, now, self._limit, _minutes), "sampled_at"):
            is_late = mark.at < (mark.before or 0)
            summed = _minute(mark, found, late if is_late else None)
            rolled.append(_merged(connection, minute, summed) if is_late else summed)
            start = mark.at // HOUR * HOUR
            hours[mark.machine_id, start] = new_mark(mark.machine_id, HOUR, start, now + HOUR_DELAY, None, None)
        if rolled:
            self._upsert(connection, minute, rolled)
            connection.execute(self._insert(dirty).on_conflict_do_nothing(), list(hours.values()))
            _delete(connection, sample, late)
            _unmark(connection, MINUTE, rolled)
        many = sum(row["samples"] for row in rolled) > ROWS_MAX
        self._limit = max(1, self._limit // 2) if many else min(MARKS_MAX, self._limit * 2)
        return [(row["machine_id"], row["at"]) for row in rolled]

    def _roll_hours(self, connection: Connection, now: int) -> bool:
        rolled: list[dict[str, Any]] = []
        late: list[dict[str, int]] = []
        for mark, rows in _by_mark(_read(connection, HOUR, now, MARKS_MAX // 4, _hours), "minute"):
            found = list(rows)
            summed = _hour(mark, found)
            if mark.at < (mark.before or 0):
                summed = _merged(connection, hour, summed)
                late += [{"machine_id": mark.machine_id, "at": row.minute} for row in found]
            rolled.append(summed)
        if rolled:
            self._upsert(connection, hour, rolled)
            _delete(connection, minute, late)
            _unmark(connection, HOUR, rolled)
        return bool(rolled)

    def _upsert(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        """Write roll-ups over the stored ones. An empty one (its parts were removed meanwhile) changes nothing."""
        values = [row for row in rows if row["samples"]]
        if values:
            statement = self._insert(table)
            changing = {name: statement.excluded[name] for name in values[0] if name not in ("machine_id", "at")}
            keys = list(table.primary_key)
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changing), values)


def _unmark(connection: Connection, length: int, rolled: Iterable[dict[str, Any]]) -> None:
    keys = [{"machine_id": row["machine_id"], "length": length, "at": row["at"]} for row in rolled]
    _delete(connection, dirty, keys)


def _read(
    connection: Connection, length: int, now: int, limit: int, parts_of: Callable[[Keys], Select[Any]]
) -> Iterable[Row[Any]]:
    """Lock some of the marks that are due, then read their parts."""
    due = select(dirty.c.machine_id, dirty.c.at).where(dirty.c.length == length, dirty.c.due_at <= now)
    due = due.order_by(dirty.c.due_at).limit(limit).with_for_update(skip_locked=True)
    keys: Keys = [(row.machine_id, row.at) for row in connection.execute(due)]
    return connection.execute(parts_of(keys), execution_options={"yield_per": ROWS_MAX}) if keys else ()


def _marks(length: int, keys: Keys, before: str) -> Subquery:
    """Return these marks, each with the time up to which its machine's parts were pruned."""
    query = (
        select(
            dirty, pruned.c[before].label("before"), minute.c.sampled_from.label("a"), minute.c.sampled_to.label("b")
        )
        .select_from(
            dirty.outerjoin(pruned, pruned.c.machine_id == dirty.c.machine_id).outerjoin(
                minute, and_(minute.c.machine_id == dirty.c.machine_id, minute.c.at == dirty.c.at)
            )
        )
        .where(dirty.c.length == length, tuple_(dirty.c.machine_id, dirty.c.at).in_(keys))
    )
    return query.subquery("due")


def _minutes(keys: Keys) -> Select[Any]:
    """Return the samples of these minutes, in the range of the mark and of the stored roll-up."""
    due = _marks(MINUTE, keys, "samples_before")
    first = case((due.c.a < due.c.sampled_from, due.c.a), else_=due.c.sampled_from)
    last = case((due.c.b > due.c.sampled_to, due.c.b), else_=due.c.sampled_to)
    at = sample.c.sampled_at + sample.c.clock_offset_milliseconds
    inside = and_(
        sample.c.machine_id == due.c.machine_id,
        sample.c.sampled_at.between(first, last),
        at >= due.c.at,
        at < due.c.at + MINUTE,
    )
    key = (sample.c.sampled_at, sample.c.stream_number, sample.c.seq)
    return (
        select(due.c.machine_id, due.c.at, due.c.before, *key, sample.c.extra, *(sample.c[name] for name in VITALS))
        .select_from(due.outerjoin(sample, inside))
        .order_by(due.c.machine_id, due.c.at, *key)
    )


def _hours(keys: Keys) -> Select[Any]:
    """Return the minutes of these hours."""
    due = _marks(HOUR, keys, "minutes_before")
    inside = and_(minute.c.machine_id == due.c.machine_id, minute.c.at >= due.c.at, minute.c.at < due.c.at + HOUR)
    return (
        select(due.c.machine_id, due.c.at, due.c.before, minute.c.at.label("minute"), *_summed_columns(minute))
        .select_from(due.outerjoin(minute, inside))
        .order_by(due.c.machine_id, due.c.at, minute.c.at)
    )


def _summed_columns(table: Table) -> list[Any]:
    """Return the columns of a roll-up: number of samples, extras, summaries of the vitals."""
    summaries = (table.c[f"{name}_{part}"] for name in VITALS for part in _PARTS)
    return [table.c.samples, table.c.extra, *summaries]


def _by_mark(rows: Iterable[Row[Any]], part: str) -> Iterator[tuple[Row[Any], Iterator[Row[Any]]]]:
    """Yield each mark (its first row) with its rows, to be read at once; none if it is empty (`part` is null)."""
    for _, group in groupby(rows, key=lambda row: tuple(row)[:2]):
        first = next(group)
        yield first, (row for row in chain((first,), group) if getattr(row, part) is not None)


def _minute(mark: Row[Any], rows: Iterator[Row[Any]], late: list[dict[str, int]] | None) -> dict[str, Any]:
    """Sum the samples of a minute up, ROWS_MAX at a time; append their keys to `late` if it is given."""
    first = last = count = 0
    vitals: list[Summary | None] = [None] * len(VITALS)
    extras: dict[str, Summary] = {}
    while some := list(islice(rows, ROWS_MAX)):
        first, last = (some[0].sampled_at if count == 0 else first), some[-1].sampled_at
        count += len(some)
        columns = list(zip(*some, strict=True))[-len(VITALS) :]
        vitals = [merge((before, sum_up(column))) for before, column in zip(vitals, columns, strict=True)]
        extras = merge_extras((extras, sum_up_extras(row.extra for row in some)))
        if late is not None:
            late += [{name: getattr(row, name) for name in _SAMPLE_KEY} for row in some]
    return {
        "machine_id": mark.machine_id,
        "at": mark.at,
        "samples": count,
        "sampled_from": first,
        "sampled_to": last,
        **_summaries(vitals),
        "extra": extras,
    }


def _hour(mark: Row[Any], rows: list[Row[Any]]) -> dict[str, Any]:
    return {"machine_id": mark.machine_id, "at": mark.at, **_all([tuple(row)[4:] for row in rows])}


def _merged(connection: Connection, table: Table, new: dict[str, Any]) -> dict[str, Any]:
    """Merge a roll-up of late parts with the stored one, whose parts were pruned."""
    query = select(*_summed_columns(table)).where(table.c.machine_id == new["machine_id"], table.c.at == new["at"])
    stored = connection.execute(query).first()
    if stored is None:
        return new
    names = [column.name for column in _summed_columns(table)]
    return {**new, **_all([stored, [new[name] for name in names]])}


def _all(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Merge rows of `_summed_columns`."""
    width = len(_PARTS)
    summaries = []
    for i in range(len(VITALS)):
        start = 2 + i * width
        summaries.append(merge([Summary(*row[start : start + width]) for row in rows if row[start]]))
    return {
        "samples": sum(row[0] for row in rows),
        **_summaries(summaries),
        "extra": merge_extras(row[1] for row in rows),
    }


def _summaries(found: Sequence[Summary | None]) -> dict[str, Any]:
    """Return the summaries of the vitals as columns."""
    values: dict[str, Any] = {}
    for name, summary in zip(VITALS, found, strict=True):
        count, minimum, average, maximum = summary or _NOTHING
        values[f"{name}_count"], values[f"{name}_min"] = count, minimum
        values[f"{name}_avg"], values[f"{name}_max"] = average, maximum
    return values


def _delete(connection: Connection, table: Table, keys: Sequence[dict[str, int]]) -> None:
    if keys:
        same = (column == bindparam(f"key_{column.name}") for column in table.primary_key)
        named = [{f"key_{name}": value for name, value in key.items()} for key in keys]
        connection.execute(delete(table).where(*same), named)


_SAMPLE_KEY: Final = tuple(column.name for column in sample.primary_key)
_PARTS: Final = ("count", "min", "avg", "max")
_NOTHING: Final = (0, None, None, None)
