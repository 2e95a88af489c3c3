"""Marks (table `dirty`) of the minutes that have new samples, set in the transaction of the samples.

A mark is deleted by the transaction that rolls its minute up (`ingestor.history.rollup`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Engine, case
from sqlalchemy.engine import Connection

from ingestor.domain.batch import Arrived
from ingestor.storage.bulk import merging
from schemas.database.tables import dirty
from schemas.fleet.history import MINUTE

GRACE: Final = 5_000
"""Milliseconds from the end of a minute to its roll-up, for samples in flight."""

COLUMNS: Final = ("machine_id", "length", "at", "due_at", "sampled_from", "sampled_to")
_CACHED_MAX: Final = 100_000

Marks = dict[tuple[int, int], tuple[int, int]]
"""Machine and minute to the range of its samples by the machine's clock."""


class RollupMarks:
    """Marks minutes, and caches those that are marked in the database already."""

    def __init__(self, engine: Engine) -> None:
        self._cached: Marks = {}
        self._rows = merging(engine, dirty, COLUMNS, _widened)
        self.exclusive = True
        """Whether no other ingestor deletes marks, so that they may be cached."""

    def write(self, connection: Connection, samples: Sequence[Arrived]) -> Marks:
        """Mark the minutes of these samples; call `committed` with the result after the COMMIT, or `clear`."""
        fresh: Marks = {}
        due: dict[tuple[int, int], int] = {}
        for arrived in samples:
            offset = arrived.clock_offset
            at = (arrived.sample.sampled_at + offset) // MINUTE * MINUTE
            key, first, last = (arrived.machine.id, at), at - offset, at - offset + MINUTE - 1
            known = fresh.get(key) or self._cached.get(key)
            if known is not None:
                if known[0] <= first and last <= known[1]:
                    continue
                first, last = min(first, known[0]), max(last, known[1])
            fresh[key] = (first, last)
            due.setdefault(key, max(at + MINUTE + GRACE, arrived.received_at))
        rows = [(id_, MINUTE, at, due[id_, at], first, last) for (id_, at), (first, last) in fresh.items()]
        self._rows.write(connection, rows)
        return fresh

    def committed(self, marks: Marks) -> None:
        """Cache marks that are in the database: they need not be written again before they are rolled up."""
        if len(self._cached) > _CACHED_MAX:
            self._cached.clear()
        if self.exclusive:
            self._cached.update(marks)

    def rolled_up(self, keys: Iterable[tuple[int, int]]) -> None:
        """Evict the marks of these machines and minutes: they were deleted."""
        for key in keys:
            self._cached.pop(key, None)

    def clear(self) -> None:
        """Evict everything: marks may not have been committed."""
        self._cached.clear()


def mark(
    machine_id: int, length: int, at: int, due_at: int, sampled_from: int | None, sampled_to: int | None
) -> dict[str, int | None]:
    """Return a row of the table `dirty`."""
    place = {"sampled_from": sampled_from, "sampled_to": sampled_to}
    return {"machine_id": machine_id, "length": length, "at": at, "due_at": due_at, **place}


def _widened(new: Any) -> Mapping[str, Any]:  # noqa: ANN401 - columns of a dialect's insert
    old = dirty.c
    return {
        "sampled_from": case((old.sampled_from < new.sampled_from, old.sampled_from), else_=new.sampled_from),
        "sampled_to": case((old.sampled_to > new.sampled_to, old.sampled_to), else_=new.sampled_to),
    }
