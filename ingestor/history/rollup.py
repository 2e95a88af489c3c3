"""Rolls samples up by minute, and minutes by hour, in small steps between batches.

Invariants:
- A mark (`ingestor.storage.rollup_marks`) is written in the transaction of its samples, and deleted in the one that
  rolls them up. A crash in between repeats work, and loses none.
- A minute is computed from all its samples, an hour from all its minutes: late, duplicate or reordered data makes no
  difference.
- A step reads at most ROWS_READ_MAX samples, however many one minute has: no machine's flood delays a batch.
- Only where those were pruned already, new ones are merged into the stored roll-up and deleted in the same transaction.
- One ingestor rolls up, any may mark: marks are locked before their samples are read, so a mark that is set meanwhile
  waits, and is there afterwards.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import BigInteger, Select, Subquery, Table, and_, bindparam, case, delete, func, select, tuple_, update
from sqlalchemy.engine import Connection, Row

from ingestor.storage.bulk import dialect_insert
from ingestor.storage.rollup_marks import mark as new_mark
from ingestor.storage.store import Store
from schemas.contract.messages import VITALS
from schemas.database.sample_key import key_minute, sampled_between
from schemas.database.tables import dirty, hour, minute, pruned, sample
from schemas.fleet.history import HOUR, MINUTE, Summary, merge, merge_extras, sum_up, sum_up_extras

MARKS_MAX: Final = 400
ROWS_MAX: Final = 4_000
"""Bounds of one step: minutes, halved while they have more samples than this; a quarter as many hours."""

ROWS_READ_MAX: Final = 2 * ROWS_MAX
"""Samples read in one step. A minute that has more is rolled up in several steps."""

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
        self._large: _LargeMinute | None = None

    def step(self, now: int) -> bool:
        """Roll up some of the marks that are due; return whether there were any."""
        large, self._large = self._large, None
        with self._store.begin() as connection:
            minutes = self._roll_minutes(connection, now) if large is None else self._go_on(connection, large, now)
            if minutes is None and not self._roll_hours(connection, now):
                return False
        self._store.marks.rolled_up(minutes or ())
        return True

    def _roll_minutes(self, connection: Connection, now: int) -> Keys | None:
        """Roll up minutes and return their keys; None if none is due. One with too many samples for a step is begun."""
        keys = _lock(connection, MINUTE, now, self._limit)
        if not keys:
            return None
        rows = connection.execute(_minutes(keys)).all()
        found = list(_by_mark(rows, "sampled_at"))
        is_cut = len(rows) == ROWS_READ_MAX
        if is_cut and len(found) > 1:
            found.pop()  # it waits for the next step
            is_cut = False
        elif is_cut and not _is_late(found[0][0]):
            self._large = _LargeMinute.of(*found[0])
            return []
        self._limit = max(1, self._limit // 2) if len(rows) > ROWS_MAX else min(MARKS_MAX, self._limit * 2)
        rolled, late = [], list[dict[str, int]]()
        for mark, some in found:
            summed = _minute(mark, some)
            if _is_late(mark):
                summed = _merged(connection, minute, summed)
                late += [{name: getattr(row, name) for name in _SAMPLE_KEY} for row in some]
            rolled.append(summed)
        self._write_minutes(connection, rolled, now)
        _delete_samples(connection, late)
        if is_cut:  # the rest of a late minute keeps its mark
            return []
        _unmark(connection, MINUTE, rolled)
        return [(row["machine_id"], row["at"]) for row in rolled]

    def _go_on(self, connection: Connection, large: "_LargeMinute", now: int) -> Keys:
        """Read more of a large minute; at its end write it, or put it off if samples came meanwhile."""
        mine = (dirty.c.machine_id == large.key[0], dirty.c.length == MINUTE, dirty.c.at == large.key[1])
        if connection.execute(select(dirty.c.at).where(*mine).with_for_update(skip_locked=True)).first() is None:
            return []
        rows = connection.execute(_minutes([large.key], after=large.position)).all()
        ((mark, found),) = _by_mark(rows, "sampled_at")
        large = large.joined(mark, found)
        if len(rows) == ROWS_READ_MAX:
            self._large = large
            return []
        parts = _minutes([large.key]).with_only_columns(func.count(sample.c.seq)).order_by(None).limit(None)
        if connection.scalar(parts) != large.summed["samples"]:
            connection.execute(update(dirty).where(*mine).values(due_at=now + MINUTE))
            return []
        self._write_minutes(connection, [large.summed], now)
        _unmark(connection, MINUTE, [large.summed])
        return [large.key]

    def _write_minutes(self, connection: Connection, rolled: list[dict[str, Any]], now: int) -> None:
        """Write minutes, and mark their hours."""
        self._upsert(connection, minute, rolled)
        hours = {(row["machine_id"], row["at"] // HOUR * HOUR) for row in rolled}
        marks = [new_mark(machine_id, HOUR, at, now + HOUR_DELAY, None, None) for machine_id, at in hours]
        connection.execute(self._insert(dirty).on_conflict_do_nothing(), marks)

    def _roll_hours(self, connection: Connection, now: int) -> bool:
        rolled: list[dict[str, Any]] = []
        late: list[dict[str, int]] = []
        keys = _lock(connection, HOUR, now, MARKS_MAX // 4)
        for mark, found in _by_mark(connection.execute(_hours(keys)) if keys else (), "minute"):
            summed = _hour(mark, found)
            if _is_late(mark):
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


def _lock(connection: Connection, length: int, now: int, limit: int) -> Keys:
    """Lock some of the marks that are due, and return them."""
    due = select(dirty.c.machine_id, dirty.c.at).where(dirty.c.length == length, dirty.c.due_at <= now)
    due = due.order_by(dirty.c.due_at).limit(limit).with_for_update(skip_locked=True)
    return [(row.machine_id, row.at) for row in connection.execute(due)]


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


def _minutes(keys: Keys, *, after: tuple[int, int, int] | None = None) -> Select[Any]:
    """Return the samples of these minutes, in the range of the mark and of the stored roll-up.

    `after`: only those after this time, stream and number. At most ROWS_READ_MAX rows.
    """
    due = _marks(MINUTE, keys, "samples_before")
    first = case((due.c.a < due.c.sampled_from, due.c.a), else_=due.c.sampled_from)
    last = case((due.c.b > due.c.sampled_to, due.c.b), else_=due.c.sampled_to)
    at = sample.c.sampled_at + sample.c.clock_offset_milliseconds
    key = (sample.c.sampled_at, sample.c.stream_number, sample.c.seq)
    inside = and_(
        sample.c.machine_id == due.c.machine_id,
        sampled_between(first, last),
        at >= due.c.at,
        at < due.c.at + MINUTE,
        *([sample.c.sampled_at >= after[0], tuple_(*key) > tuple_(*after)] if after else ()),
    )
    return (
        select(due.c.machine_id, due.c.at, due.c.before, *key, sample.c.extra, *(sample.c[name] for name in VITALS))
        .select_from(due.outerjoin(sample, inside))
        .order_by(due.c.machine_id, due.c.at, *key)
        .limit(ROWS_READ_MAX)
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


def _by_mark(rows: Iterable[Row[Any]], part: str) -> Iterator[tuple[Row[Any], list[Row[Any]]]]:
    """Yield each mark (its first row) with its rows; none if it is empty (`part` is null)."""
    for _, group in groupby(rows, key=lambda row: tuple(row)[:2]):
        found = list(group)
        yield found[0], [row for row in found if getattr(row, part) is not None]


def _is_late(mark: Row[Any]) -> bool:
    """Return whether parts of this mark were pruned already."""
    return bool(mark.at < (mark.before or 0))


def _minute(mark: Row[Any], rows: list[Row[Any]]) -> dict[str, Any]:
    plain: list[tuple[Any, ...]] = [tuple(row) for row in rows]
    columns = list(zip(*plain, strict=True))
    readings = columns[-len(VITALS) :] or [()] * len(VITALS)
    return {
        "machine_id": mark.machine_id,
        "at": mark.at,
        "samples": len(rows),
        "sampled_from": rows[0].sampled_at if rows else 0,
        "sampled_to": rows[-1].sampled_at if rows else 0,
        **_summaries([sum_up(column) for column in readings]),
        "extra": sum_up_extras(row.extra for row in rows),
    }


@dataclass(frozen=True, slots=True)
class _LargeMinute:
    """A minute of which the samples up to `position` are summed up."""

    key: tuple[int, int]
    position: tuple[int, int, int]
    summed: dict[str, Any]

    @classmethod
    def of(cls, mark: Row[Any], rows: list[Row[Any]]) -> "_LargeMinute":
        """Begin with these samples."""
        position = (rows[-1].sampled_at, rows[-1].stream_number, rows[-1].seq)
        return cls((mark.machine_id, mark.at), position, _minute(mark, rows))

    def joined(self, mark: Row[Any], rows: list[Row[Any]]) -> "_LargeMinute":
        """Add the next samples, if there are any."""
        if not rows:
            return self
        more = _LargeMinute.of(mark, rows)
        summed = _joined(minute, [self.summed, more.summed])
        return _LargeMinute(self.key, more.position, {**summed, "sampled_from": self.summed["sampled_from"]})


def _hour(mark: Row[Any], rows: list[Row[Any]]) -> dict[str, Any]:
    return {"machine_id": mark.machine_id, "at": mark.at, **_all([tuple(row)[4:] for row in rows])}


def _merged(connection: Connection, table: Table, new: dict[str, Any]) -> dict[str, Any]:
    """Merge a roll-up of late parts with the stored one, whose parts were pruned."""
    query = select(*_summed_columns(table)).where(table.c.machine_id == new["machine_id"], table.c.at == new["at"])
    stored = connection.execute(query).mappings().first()
    if stored is None:
        return new
    return _joined(table, [dict(stored), new])


def _joined(table: Table, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last part with the sums of all."""
    names = [column.name for column in _summed_columns(table)]
    return {**parts[-1], **_all([[part[name] for name in names] for part in parts])}


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


def _delete_samples(connection: Connection, keys: Sequence[dict[str, int]]) -> None:
    if keys:
        same = [column == bindparam(f"key_{column.name}", type_=column.type) for column in sample.primary_key]
        same.append(key_minute(sample.c.sampled_at) == key_minute(bindparam("key_sampled_at", type_=BigInteger)))
        connection.execute(delete(sample).where(*same), _named(keys))


def _named(keys: Sequence[dict[str, int]]) -> list[dict[str, int]]:
    return [{f"key_{name}": value for name, value in key.items()} for key in keys]


def _delete(connection: Connection, table: Table, keys: Sequence[dict[str, int]]) -> None:
    if keys:
        same = (column == bindparam(f"key_{column.name}") for column in table.primary_key)
        connection.execute(delete(table).where(*same), _named(keys))


_SAMPLE_KEY: Final = tuple(column.name for column in sample.primary_key)
_PARTS: Final = ("count", "min", "avg", "max")
_NOTHING: Final = (0, None, None, None)
