"""Moves the series of hours that are over from rows into blocks, and sums them up, in small steps between batches.

Invariants:
- The rows of an hour are deleted in the transaction that writes them into its blocks. A crash repeats work, and loses
  none. A sample that is in a block already is not added again.
- Late data opens its hour again: the roll-up is that of all its blocks. Only if those were deleted already, late
  readings are merged into the stored roll-up.
- The newest series of a machine stay a row, so that they are found without reading a block.
- A block has at most PLACES_MAX metrics and devices; how many readings of others were left out is logged.
- A step reads at most ROWS_MAX rows of each of HOURS_MAX hours, and writes a block of at most READINGS_MAX readings. An
  hour has at most PARTS_MAX blocks; more is logged and not stored.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, delete, exists, select, tuple_
from sqlalchemy.engine import Connection

from ingestor.storage.bulk import dialect_insert
from ingestor.storage.store import Store
from schemas.database.series.stored_series import KEY, read_row
from schemas.database.tables import series_due, series_hour, series_rollup, series_sample
from schemas.fleet.history import DAY, HOUR, Summary
from schemas.series.frame import PLACES_MAX, Place
from schemas.series.sample_block import SampleBlock, SeriesSample, count_readings, make_block, read_block, write_block
from schemas.series.summary_block import (
    join_summaries,
    merge_summaries,
    read_summaries,
    sum_up_block,
    write_summaries,
)

HOURS_MAX: Final = 4
ROWS_MAX: Final = 120
READINGS_MAX: Final = 60 * 512
"""Readings of one block: an hour of the longest samples, one a minute."""

PARTS_MAX: Final = 60

log = logging.getLogger(__name__)


class _Part(NamedTuple):
    """A block of an hour; `number` counts them from 0."""

    number: int
    block: SampleBlock

    @property
    def readings(self) -> int:
        return sum(1 for column in self.block.columns.values() for number in column if number is not None)


class SeriesHours:
    """Closes the hours of a database that are due."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._insert: Any = dialect_insert(store.engine)

    def step(self, now: int) -> bool:
        """Close some hours, or a part of a large one; return whether there were any."""
        due = select(series_due.c.machine_id, series_due.c.at).where(series_due.c.due_at <= now)
        due = due.order_by(series_due.c.due_at).limit(HOURS_MAX).with_for_update(skip_locked=True)
        with self._store.begin() as connection:
            hours = [(row.machine_id, row.at) for row in connection.execute(due)]
            closed = [hour for hour in hours if self._close(connection, *hour, now // DAY * DAY)]
        self._store.series.closed(closed)
        return bool(hours)

    def _close(self, connection: Connection, machine_id: int, at: int, today: int) -> bool:
        """Move rows of an hour; return whether these were all."""
        mine = series_sample.c.machine_id == machine_id
        inside = and_(mine, series_sample.c.at >= at, series_sample.c.at < at + HOUR)
        query = select(*KEY, series_sample.c.readings).where(inside).order_by(*KEY).limit(ROWS_MAX + 1)
        rows = connection.execute(query).all()
        is_whole = len(rows) <= ROWS_MAX
        samples = [read_row(row) for row in rows[:ROWS_MAX]]
        if samples:
            self._store_samples(connection, machine_id, at, samples)
            self._join_days(connection, machine_id, today)
            _delete_rows(connection, mine, inside, at, samples[-1])
        if is_whole:
            this = (series_due.c.machine_id == machine_id) & (series_due.c.at == at)
            connection.execute(delete(series_due).where(this))
        return is_whole

    def _store_samples(self, connection: Connection, machine_id: int, at: int, samples: list[SeriesSample]) -> None:
        this = (series_hour.c.machine_id == machine_id) & (series_hour.c.at == at)
        stored = connection.execute(select(series_hour.c.part, series_hour.c.block).where(this)).all()
        parts = sorted(_Part(row.part, read_block(row.block)) for row in stored)
        known = {key for part in parts for key in part.block.keys}
        new = [sample for sample in samples if sample.key not in known]
        if not new:
            return
        if not parts and (earlier := _stored_roll_up(connection, machine_id, at)) is not None:
            self._write_roll_up(connection, machine_id, at, merge_summaries(earlier, sum_up_block(make_block(new))))
            return
        part = _add(parts, new)
        if part.number >= PARTS_MAX:
            log.warning("machine %s has too many series in one hour: %s samples are not kept", machine_id, len(new))
            return
        if part.block.left_out:
            log.warning(
                "machine %s has more than %s metrics and devices in one hour: %s readings are not kept",
                *(machine_id, PLACES_MAX, part.block.left_out),
            )
        values = {"readings": part.readings, "block": write_block(part.block)}
        statement = self._insert(series_hour).values(machine_id=machine_id, at=at, part=part.number, **values)
        connection.execute(
            statement.on_conflict_do_update(index_elements=list(series_hour.primary_key), set_=dict(values))
        )
        summaries: Mapping[Place, Summary] = {}
        for each in (*(other for other in parts if other.number != part.number), part):
            summaries = merge_summaries(summaries, sum_up_block(each.block))
        self._write_roll_up(connection, machine_id, at, summaries)

    def _write_roll_up(
        self, connection: Connection, machine_id: int, at: int, summaries: Mapping[Place, Summary]
    ) -> None:
        self._write(connection, machine_id, HOUR, at, write_summaries({at: summaries}))

    def _join_days(self, connection: Connection, machine_id: int, today: int) -> None:
        """Join the roll-ups of hours before today with those of their days."""
        hours = (series_rollup.c.machine_id == machine_id, series_rollup.c.length == HOUR, series_rollup.c.at < today)
        found: dict[int, list[bytes]] = {}
        for row in connection.execute(select(series_rollup).where(*hours).order_by(series_rollup.c.at)):
            found.setdefault(row.at // DAY * DAY, []).append(row.block)
        for day, blocks in found.items():
            stored = connection.scalar(_roll_up(machine_id, DAY, day))
            every = [*([stored] if stored is not None else []), *blocks]
            joined = write_summaries(join_summaries(read_summaries(block) for block in every))
            self._write(connection, machine_id, DAY, day, joined)
        if found:
            connection.execute(delete(series_rollup).where(*hours))

    def _write(self, connection: Connection, machine_id: int, length: int, at: int, block: bytes) -> None:
        statement = self._insert(series_rollup).values(machine_id=machine_id, length=length, at=at, block=block)
        keys = list(series_rollup.primary_key)
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"block": block}))


def _add(parts: Sequence[_Part], new: list[SeriesSample]) -> _Part:
    """Return the last part with new samples, or the next one if it would be too large."""
    if not parts:
        return _Part(0, make_block(new))
    last = parts[-1]
    if last.readings + sum(count_readings(sample.readings) for sample in new) > READINGS_MAX:
        return _Part(last.number + 1, make_block(new))
    return _Part(last.number, make_block([*last.block.samples(), *new]))


def _roll_up(machine_id: int, length: int, at: int) -> Any:  # noqa: ANN401 - a query
    columns = series_rollup.c
    return select(columns.block).where(columns.machine_id == machine_id, columns.length == length, columns.at == at)


def _stored_roll_up(connection: Connection, machine_id: int, at: int) -> Mapping[Place, Summary] | None:
    """Return the roll-up of an hour; None if there is none."""
    for length, start in ((HOUR, at), (DAY, at // DAY * DAY)):
        block = connection.scalar(_roll_up(machine_id, length, start))
        if block is not None and (found := read_summaries(block).get(at)) is not None:
            return found
    return None


def _delete_rows(
    connection: Connection, mine: ColumnElement[bool], inside: ColumnElement[bool], at: int, last: SeriesSample
) -> None:
    """Delete the rows of an hour up to this one, and earlier ones that stayed as the newest; not the newest."""
    newest = connection.execute(select(*KEY).where(mine).order_by(*(column.desc() for column in KEY)).limit(1)).one()
    key = tuple_(*KEY)
    moved = and_(inside, key <= tuple_(last.at, last.stream_number, last.seq), key < tuple_(*newest))
    connection.execute(delete(series_sample).where(moved))
    its_hour = series_sample.c.at - series_sample.c.at % HOUR
    is_due = exists().where(series_due.c.machine_id == series_sample.c.machine_id, series_due.c.at == its_hour)
    connection.execute(delete(series_sample).where(mine, series_sample.c.at < at, ~is_due))
