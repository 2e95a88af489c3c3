"""Rows of the series of samples, and marks (table `series_due`) of their hours, in the transaction of the samples.

A mark is deleted by the transaction that moves the rows of its hour into a block (`ingestor.history.series_hours`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Engine
from sqlalchemy.engine import Connection

from ingestor.domain.batch import Arrived
from ingestor.storage.bulk import bulk, dialect_insert
from schemas.database.tables import series_due, series_sample
from schemas.fleet.history import HOUR, MINUTE

CLOSE_DELAY: Final = 5 * MINUTE
"""Milliseconds from the end of an hour, or from a late sample, to the block, so that few blocks are written twice."""

COLUMNS: Final = ("machine_id", "at", "stream_number", "seq", "readings")
_CACHED_MAX: Final = 100_000

Hours = set[tuple[int, int]]
"""Machine and start of the hour."""


class SeriesRows:
    """Writes series, and caches the hours that are marked in the database already."""

    def __init__(self, engine: Engine) -> None:
        self._cached: Hours = set()
        self._rows = bulk(engine, series_sample, COLUMNS, overwrite=False)
        statement = dialect_insert(engine)(series_due)
        # An update, although nothing changes: it waits for a transaction that is deleting the mark.
        self._mark = statement.on_conflict_do_update(
            index_elements=list(series_due.primary_key), set_={"due_at": series_due.c.due_at}
        )
        self.exclusive = True
        """Whether no other ingestor deletes marks, so that they may be cached."""

    def write(self, connection: Connection, samples: Sequence[Arrived]) -> Hours:
        """Store the series of these samples; call `committed` with the result after the COMMIT, or `clear`."""
        rows: list[tuple[Any, ...]] = []
        due: dict[tuple[int, int], int] = {}
        for arrived in samples:
            sample = arrived.sample
            if not sample.series:
                continue
            at = min(sample.sampled_at + arrived.clock_offset, arrived.received_at)
            key = (arrived.machine.id, at // HOUR * HOUR)
            rows.append((key[0], at, arrived.stream.number, sample.seq, to_json(sample.series).decode()))
            if key not in self._cached:
                due[key] = max(key[1] + HOUR, arrived.received_at) + CLOSE_DELAY
        self._rows.write(connection, rows)
        if due:
            marks = [{"machine_id": id_, "at": at, "due_at": due_at} for (id_, at), due_at in sorted(due.items())]
            connection.execute(self._mark, marks)
        return set(due)

    def committed(self, hours: Hours) -> None:
        """Cache marks that are in the database."""
        if len(self._cached) > _CACHED_MAX:
            self._cached.clear()
        if self.exclusive:
            self._cached |= hours

    def closed(self, hours: Iterable[tuple[int, int]]) -> None:
        """Evict the marks of these hours: they were deleted."""
        self._cached.difference_update(hours)

    def clear(self) -> None:
        """Evict everything: marks may not have been committed."""
        self._cached.clear()
