"""The outbox: every sample waits here until the ingestor says that it is in the database.

Invariants:
1. A sample gets its place (`stream`, `seq`) exactly once, and `seq` grows by one within a stream. A stream has a random
   name and belongs to one boot of the machine: the next boot begins a new one, because the last number of the old one
   cannot be known for sure. So a number is never used twice, and uptime orders the samples of a stream.
2. A sample leaves only by `ack`, or, counted in `dropped`, when it has to make room: the oldest first.
3. Samples wait first in the *hot* store, a file in the system's memory (tmpfs): it survives the death of the process
   and costs the disk nothing. `spill` moves them to the *cold* store, on disk and synced. The agent spills what is not
   acked within SPILL_SECONDS, and everything while it is offline or stops. So a power cut can cost what was sampled in
   the last SPILL_SECONDS and is not acked, and nothing that was spilled.
4. A sample is in the hot store, in the cold store, or for a moment in both; never in none.
5. A disk that is full or fails keeps nobody waiting: samples go on through the hot store, within HOT_MAX_BYTES.
6. A store that SQLite finds corrupt is moved aside for inspection (`quarantined`) and replaced at once.
"""

import json
import logging
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.store import Meta, Piece, Row, Store, Stream, is_corrupt, is_locked, move_aside
from schemas.messages import Extra, Range, Sample, Vitals
from schemas.settings import SettingsError

SPILL_SECONDS = 20.0
HOT_MAX_BYTES = 4 << 20

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Waiting samples of one stream, ascending, with what the ledger needs to know of that stream."""

    stream: str
    oldest_seq: int
    dropped: int
    samples: list[Sample]


class Outbox:
    """The queue of one agent, for one thread of one process.

    `cold` and `hot` are the files of the two stores; `max_bytes` (at least 1 MiB) bounds those of the cold one. `boot`
    names the current boot of the machine: the hot store of an earlier one cannot be trusted for its last number.
    Raises SettingsError when another process uses the same outbox.
    """

    def __init__(
        self,
        cold: Path,
        hot: Path,
        *,
        max_bytes: int,
        boot: str,
        now: Callable[[], int],
        new_name: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.quarantined: list[Path] = []
        self.disk_failures = 0
        self._cold_path, self._hot_path = cold, hot
        self._cold_max_bytes = max_bytes * 3 // 4  # the rest is for the write-ahead log
        self._boot = boot
        self._now = now  # the time makes ids unique even when the disk cannot say which are taken
        self._new_name = new_name
        self._forgotten: list[Piece] = []
        self._cold: Store | None = None
        self._hot = self._open_hot()
        self._current = self._take_up()
        self._hot.note(Meta(boot, self._current.id), self._current)

    @property
    def stream(self) -> str:
        """The name of the current stream."""
        return self._current.name

    @property
    def next_seq(self) -> int:
        """The number that the next sample will get."""
        return self._current.next_seq

    @property
    def oldest_seq(self) -> int:
        """The smallest number of the current stream that still waits; the next number when none does."""
        return self._oldest(self._current.id) or self.next_seq

    @property
    def dropped(self) -> int:
        """How many samples of the current stream had to make room, ever."""
        return self._dropped(self._current.id)

    @property
    def waiting(self) -> int:
        """How many samples wait, of all streams."""
        return self._hot.count() + self._on_disk(Store.count, 0)

    def append(self, sampled_at: int, vitals: Vitals, extra: Extra) -> Sample:
        """Number a sample and keep it. `sampled_at`: milliseconds of the machine's clock."""
        seq = self.next_seq
        self._current = self._current._replace(next_seq=seq + 1)
        body = json.dumps([vitals.model_dump(exclude_none=True), extra], separators=(",", ":"))
        row = Row(self._current.id, seq, sampled_at, body)
        try:
            self._keep(row)
        except sqlite3.DatabaseError as error:
            self._replace_hot(error)
            self._keep(row)
        return _sample(row)

    def ack(self, stream: str, ranges: Sequence[Range]) -> None:
        """Let go of the samples with these numbers. Unknown streams and numbers are ignored."""
        stream_id = self._hot.stream_id(stream) or self._on_disk(lambda cold: cold.stream_id(stream), None)
        if stream_id is None:
            return
        self._forgotten += [Piece(stream_id, piece.first, piece.last) for piece in ranges]
        self._hot.forget(self._forgotten)
        if self._on_disk(self._forget, False):
            self._forgotten = []

    def spill(self, *, before_seq: int | None = None) -> None:
        """Move all that waits in the hot store to disk; with `before_seq`, only if something before it waits there."""
        first = self._hot.oldest(self._current.id)
        if first is None or (before_seq is not None and first >= before_seq):
            return
        if self._on_disk(self._copy_to, False):
            self._hot.clear()

    def batch(self, limit: int, *, before_seq: int | None = None) -> Batch | None:
        """The oldest waiting samples, up to `limit`; those of the current stream only below `before_seq`."""
        before = (self._current.id, self.next_seq if before_seq is None else before_seq)
        nothing: list[Row] = []
        rows = self._on_disk(lambda cold: cold.rows(before=before, limit=limit), nothing)
        if len(rows) < limit:
            rows = rows + self._hot.rows(before=before, limit=limit)
        if not rows:
            return None
        stream_id = rows[0].stream_id
        chosen = {row.seq: row for row in rows[:limit] if row.stream_id == stream_id}
        return Batch(
            stream=self._name(stream_id),
            oldest_seq=self._oldest(stream_id) or self.next_seq,
            dropped=self._dropped(stream_id),
            samples=[_sample(chosen[seq]) for seq in sorted(chosen)],
        )

    def close(self) -> None:
        """Put everything on disk."""
        self.spill()
        if self._cold is not None:
            self._cold.close()
        self._hot.close()

    # Taking up after a stop, a crash or a power cut.

    def _take_up(self) -> Stream:
        """The stream to go on with: the hot store's when this boot wrote it, else a new one."""
        meta = self._hot.meta()
        if meta is not None and meta.boot == self._boot:
            found = self._hot.stream(meta.stream_id)
            if found is not None:
                return found
        self._empty_hot()
        newest = self._on_disk(Store.newest_stream_id, 0)
        return Stream(max(newest + 1, self._now()), self._new_name(), 1)

    def _empty_hot(self) -> None:
        """Move what an earlier boot left behind to disk, and begin with a new hot store."""
        streams, rows = self._hot.streams(), self._hot.rows()
        if rows:
            self._on_disk(lambda cold: cold.add(streams, rows), None)
        if streams:
            self._hot.close()
            self._hot_path.unlink(missing_ok=True)
            self._hot = self._open_hot()

    # The hot store.

    def _keep(self, row: Row) -> None:
        self._hot.make_room(HOT_MAX_BYTES)
        self._hot.add([self._current], [row])

    def _open_hot(self) -> Store:
        try:
            return self._open(self._hot_path, durable=False)
        except sqlite3.DatabaseError as error:
            self._refuse_if_locked(error, self._hot_path)
            log.warning("cannot use %s (%s): the last samples wait in the process only", self._hot_path, error)
            return Store.in_memory()

    def _replace_hot(self, error: sqlite3.DatabaseError) -> None:
        """Go on without the hot store's file, with what of it can still be read."""
        log.error("the hot store failed (%s): going on in the process's memory", error)
        rows: list[Row] = []
        with suppress(sqlite3.Error):
            rows = self._hot.rows()
        with suppress(sqlite3.Error):
            self._hot.close()
        self._hot = Store.in_memory()
        self._hot.note(Meta(self._boot, self._current.id), self._current)
        self._hot.add([], rows)

    # The cold store.

    def _on_disk(self, work: Callable[[Store], T], otherwise: T) -> T:
        """Do something with the cold store. A failure is counted and gives `otherwise`; a corrupt store is replaced."""
        try:
            if self._cold is None:
                self._cold = self._open(self._cold_path, durable=True)
            return work(self._cold)
        except sqlite3.DatabaseError as error:
            self._refuse_if_locked(error, self._cold_path)
            self.disk_failures += 1
            log.warning("the disk queue failed (%s): %s samples wait in memory", error, self._hot.count())
            if self._cold is not None and is_corrupt(error):
                self._cold.close()
                self._cold = None
                self._move_aside(self._cold_path)
            return otherwise

    def _copy_to(self, cold: Store) -> bool:
        rows = self._hot.rows()
        cold.make_room(self._cold_max_bytes - sum(len(row.body) + 64 for row in rows))
        cold.add(self._hot.streams(), rows)
        return True

    def _forget(self, cold: Store) -> bool:
        cold.forget(self._forgotten)
        return True

    # Both.

    def _open(self, path: Path, *, durable: bool) -> Store:
        try:
            return Store.open(path, durable=durable)
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            self._move_aside(path)
            return Store.open(path, durable=durable)

    def _move_aside(self, path: Path) -> None:
        self.quarantined.append(move_aside(path))
        log.error("%s was corrupt: moved to %s, starting with an empty one", path, self.quarantined[-1])

    def _refuse_if_locked(self, error: sqlite3.DatabaseError, path: Path) -> None:
        if is_locked(error):
            raise SettingsError(
                f"another agent uses {path}: stop it, or give this one a data directory of its own"
            ) from None

    def _oldest(self, stream_id: int) -> int | None:
        ends = (self._on_disk(lambda cold: cold.oldest(stream_id), None), self._hot.oldest(stream_id))
        return min((end for end in ends if end is not None), default=None)

    def _dropped(self, stream_id: int) -> int:
        return self._hot.dropped(stream_id) + self._on_disk(lambda cold: cold.dropped(stream_id), 0)

    def _name(self, stream_id: int) -> str:
        found = self._hot.stream(stream_id) or self._on_disk(lambda cold: cold.stream(stream_id), None)
        return self.stream if found is None else found.name


def _sample(row: Row) -> Sample:
    vitals, extra = json.loads(row.body)
    return Sample.model_construct(
        seq=row.seq, sampled_at=row.sampled_at, vitals=Vitals.model_construct(**vitals), extra=extra
    )
