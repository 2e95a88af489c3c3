"""Rolls samples up by minute, and minutes by hour, in small steps beside the ingesting.

Invariants:
- A mark (table `dirty`) is written in the transaction of the samples it is for, and deleted in the one that rolls them
  up. A crash in between repeats work, and loses none.
- A minute is summed up anew from all its samples, an hour from all its minutes: what comes late, twice or in another
  order makes no difference.
- Only where those were pruned already, the new ones are merged into what is stored and deleted in the same transaction.
- One ingestor rolls up, any may mark: the marks are locked before their samples are read, so that a mark that is set
  meanwhile waits, and is there afterwards.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Engine, Select, Subquery, Table, and_, bindparam, case, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Row

from ingestor.intake.message_handlers import Arrived
from schemas.contract.messages import VITALS
from schemas.database.tables import dirty, hour, minute, pruned, sample
from schemas.fleet.history import HOUR, MINUTE, Summary, merge, merge_extras, sum_up, sum_up_extras

MARKS_MAX: Final = 400
ROWS_MAX: Final = 4_000
"""Of one step: so many minutes, fewer where they have more than so many samples; or a quarter as many hours."""

GRACE: Final = 5_000
"""A minute is rolled up so many milliseconds after its end, when what is on its way has come."""

HOUR_DELAY: Final = 15 * MINUTE
"""An hour is rolled up at most so often."""

_REMEMBERED_MAX: Final = 100_000

Begin = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction."""

Keys = list[tuple[int, int]]
"""Of marks of one length: machine and start."""

Marks = dict[tuple[int, int], tuple[int, int]]
"""Machine and minute to where its samples are, by the machine's clock."""


class Rollup:
    """Marks what has to be rolled up, and rolls it up."""

    def __init__(self, engine: Engine, begin: Begin) -> None:
        self._begin = begin
        self._insert: Any = (postgresql if engine.dialect.name == "postgresql" else sqlite).insert
        self._marked: Marks = {}
        self._limit = MARKS_MAX
        self.alone = True
        """Whether nobody else deletes marks: then those that are in the database are remembered."""

    def mark(self, connection: Connection, samples: Sequence[Arrived]) -> Marks:
        """Mark the minutes of these samples in their transaction. Tell `committed` of it, or `forget`."""
        fresh: Marks = {}
        rows = []
        for arrived in samples:
            offset = arrived.clock_offset
            at = (arrived.sample.sampled_at + offset) // MINUTE * MINUTE
            key, first, last = (arrived.machine.id, at), at - offset, at - offset + MINUTE - 1
            known = fresh.get(key) or self._marked.get(key)
            if known is not None:
                if known[0] <= first and last <= known[1]:
                    continue
                first, last = min(first, known[0]), max(last, known[1])
            fresh[key] = (first, last)
            due_at = max(at + MINUTE + GRACE, arrived.received_at)
            rows.append(_mark(arrived.machine.id, MINUTE, at, due_at, first, last))
        if rows:
            connection.execute(self._marking(), rows)
        return fresh

    def committed(self, marks: Marks) -> None:
        """These marks are in the database: they need not be written again before they are rolled up."""
        if len(self._marked) > _REMEMBERED_MAX:
            self._marked.clear()
        if self.alone:
            self._marked.update(marks)

    def forget(self) -> None:
        """What was marked may not have been stored."""
        self._marked.clear()

    def step(self, now: int) -> bool:
        """Roll up a few of what is due. Returns whether there was any."""
        with self._begin() as connection:
            minutes = self._roll_minutes(connection, now)
            if not minutes and not self._roll_hours(connection, now):
                return False
        for key in minutes:
            self._marked.pop(key, None)
        return True

    def _roll_minutes(self, connection: Connection, now: int) -> list[tuple[int, int]]:
        rolled: list[dict[str, Any]] = []
        hours: dict[tuple[int, int], dict[str, Any]] = {}
        late: list[dict[str, int]] = []
        for mark, found in _by_mark(_read(connection, MINUTE, now, self._limit, _minutes), "sampled_at"):
            summed = _minute(mark, found)
            if mark.at < (mark.before or 0):
                summed = _merged(connection, minute, summed)
                late += [{name: getattr(row, name) for name in _SAMPLE_KEY} for row in found]
            rolled.append(summed)
            start = mark.at // HOUR * HOUR
            hours[mark.machine_id, start] = _mark(mark.machine_id, HOUR, start, now + HOUR_DELAY, None, None)
        if rolled:
            self._store(connection, minute, rolled)
            connection.execute(self._insert(dirty).on_conflict_do_nothing(), list(hours.values()))
            _delete(connection, sample, late)
            self._unmark(connection, MINUTE, rolled)
        self._adapt(sum(row["samples"] for row in rolled))
        return [(row["machine_id"], row["at"]) for row in rolled]

    def _roll_hours(self, connection: Connection, now: int) -> bool:
        rolled: list[dict[str, Any]] = []
        late: list[dict[str, int]] = []
        for mark, found in _by_mark(_read(connection, HOUR, now, MARKS_MAX // 4, _hours), "minute"):
            summed = _hour(mark, found)
            if mark.at < (mark.before or 0):
                summed = _merged(connection, hour, summed)
                late += [{"machine_id": mark.machine_id, "at": row.minute} for row in found]
            rolled.append(summed)
        if rolled:
            self._store(connection, hour, rolled)
            _delete(connection, minute, late)
            self._unmark(connection, HOUR, rolled)
        return bool(rolled)

    def _adapt(self, samples: int) -> None:
        """Take fewer minutes next time when these had many samples."""
        self._limit = max(1, self._limit // 2) if samples > ROWS_MAX else min(MARKS_MAX, self._limit * 2)

    def _marking(self) -> Any:  # noqa: ANN401 - the dialect's own kind of insert
        statement = self._insert(dirty)
        old, new = dirty.c, statement.excluded
        widened = {
            "sampled_from": case((old.sampled_from < new.sampled_from, old.sampled_from), else_=new.sampled_from),
            "sampled_to": case((old.sampled_to > new.sampled_to, old.sampled_to), else_=new.sampled_to),
        }
        return statement.on_conflict_do_update(index_elements=list(dirty.primary_key), set_=widened)

    def _store(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        """Write roll-ups over what was there. One of nothing (its parts were removed meanwhile) changes nothing."""
        values = [row for row in rows if row["samples"]]
        if values:
            statement = self._insert(table)
            changing = {name: statement.excluded[name] for name in values[0] if name not in ("machine_id", "at")}
            keys = list(table.primary_key)
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changing), values)

    def _unmark(self, connection: Connection, length: int, rolled: Iterable[dict[str, Any]]) -> None:
        keys = [{"machine_id": row["machine_id"], "length": length, "at": row["at"]} for row in rolled]
        _delete(connection, dirty, keys)


def _read(
    connection: Connection, length: int, now: int, limit: int, parts_of: Callable[[Keys], Select[Any]]
) -> Iterable[Row[Any]]:
    """Lock some of the marks that are due, and then read their parts."""
    due = select(dirty.c.machine_id, dirty.c.at).where(dirty.c.length == length, dirty.c.due_at <= now)
    due = due.order_by(dirty.c.due_at).limit(limit).with_for_update(skip_locked=True)
    keys: Keys = [(row.machine_id, row.at) for row in connection.execute(due)]
    return connection.execute(parts_of(keys)) if keys else ()


def _marks(length: int, keys: Keys, before: str) -> Subquery:
    """These marks, each with where the parts of its machine were pruned up to."""
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
    """The samples of these minutes, looked for where the mark says and those before were."""
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
    """The minutes of these hours."""
    due = _marks(HOUR, keys, "minutes_before")
    inside = and_(minute.c.machine_id == due.c.machine_id, minute.c.at >= due.c.at, minute.c.at < due.c.at + HOUR)
    return (
        select(due.c.machine_id, due.c.at, due.c.before, minute.c.at.label("minute"), *_summed_columns(minute))
        .select_from(due.outerjoin(minute, inside))
        .order_by(due.c.machine_id, due.c.at, minute.c.at)
    )


def _summed_columns(table: Table) -> list[Any]:
    """Of a roll-up: how many samples, the extras, and the vitals' summaries."""
    summaries = (table.c[f"{name}_{part}"] for name in VITALS for part in _PARTS)
    return [table.c.samples, table.c.extra, *summaries]


def _by_mark(rows: Iterable[Row[Any]], part: str) -> Iterator[tuple[Row[Any], list[Row[Any]]]]:
    """Each mark, on the first of its rows, and its rows; none when there is nothing in it (`part` is null)."""
    for _, group in groupby(rows, key=lambda row: tuple(row)[:2]):
        found = list(group)
        yield found[0], [row for row in found if getattr(row, part) is not None]


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


def _hour(mark: Row[Any], rows: list[Row[Any]]) -> dict[str, Any]:
    return {"machine_id": mark.machine_id, "at": mark.at, **_all([tuple(row)[4:] for row in rows])}


def _merged(connection: Connection, table: Table, new: dict[str, Any]) -> dict[str, Any]:
    """A roll-up of parts that came late, with what was rolled up before its parts were pruned."""
    query = select(*_summed_columns(table)).where(table.c.machine_id == new["machine_id"], table.c.at == new["at"])
    stored = connection.execute(query).first()
    if stored is None:
        return new
    names = [column.name for column in _summed_columns(table)]
    return {**new, **_all([stored, [new[name] for name in names]])}


def _all(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Rows of `_summed_columns` as one."""
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
    """The vitals' summaries as columns."""
    values: dict[str, Any] = {}
    for name, summary in zip(VITALS, found, strict=True):
        count, minimum, average, maximum = summary or _NOTHING
        values[f"{name}_count"], values[f"{name}_min"] = count, minimum
        values[f"{name}_avg"], values[f"{name}_max"] = average, maximum
    return values


def _mark(
    machine_id: int, length: int, at: int, due_at: int, sampled_from: int | None, sampled_to: int | None
) -> dict[str, int | None]:
    place = {"sampled_from": sampled_from, "sampled_to": sampled_to}
    return {"machine_id": machine_id, "length": length, "at": at, "due_at": due_at, **place}


def _delete(connection: Connection, table: Table, keys: Sequence[dict[str, int]]) -> None:
    """Delete the rows with these keys."""
    if keys:
        same = (column == bindparam(f"key_{column.name}") for column in table.primary_key)
        named = [{f"key_{name}": value for name, value in key.items()} for key in keys]
        connection.execute(delete(table).where(*same), named)


_SAMPLE_KEY: Final = tuple(column.name for column in sample.primary_key)
_PARTS: Final = ("count", "min", "avg", "max")
_NOTHING: Final = (0, None, None, None)
