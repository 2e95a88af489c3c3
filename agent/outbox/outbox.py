"""The outbox: every sample waits here until the ingestor says that it is in the database.

Invariants:
1. A sample gets its place (`stream`, `seq`) exactly once, and `seq` grows by one within a stream. A stream has a random
   name and belongs to one boot of the machine: the next boot begins a new one, and so does a hot store that failed,
   because the last number of the old one cannot be known for sure. So a number is never used twice, and uptime orders
   the samples of a stream.
2. A sample leaves only by `ack`, or, counted in `dropped`, when it has to make room: the oldest first.
3. Samples wait first in the *hot* store, a file in the system's memory (tmpfs): it survives the death of the process
   and costs the disk nothing. `spill` moves them to the *cold* store, on disk and synced. The agent spills what is not
   acked within SPILL_SECONDS, and everything while it is offline or stops. So a power cut can cost what was sampled in
   the last SPILL_SECONDS and is not acked, and nothing that was spilled.
4. A sample is in the hot store, in the cold store, or for a moment in both; never in none.
5. A disk that is full or fails keeps nobody waiting: samples go on through the hot store, within HOT_MAX_BYTES.
6. A store that SQLite finds corrupt is moved aside for inspection (`quarantined`) and replaced at once. A sample that
   is damaged in a file that is otherwise sound is dropped, and counted.
7. Only the start may refuse. Later no error of a disk leaves here, and `disk_failures` counts those of the cold store.
"""

import json
import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from agent.outbox.sample_file import Contents, Meta, Piece, Row, Store, Stream, is_corrupt, is_locked, move_aside
from runtime.errors import SettingsError
from schemas.contract.messages import INTEGER_MAX, EarlierStream, Extra, Range, Sample, Vitals

SPILL_SECONDS = 20.0
HOT_MAX_BYTES = 4 << 20
_SPILL_ROWS = 500
_SPILL_BYTES = 64 << 10
_WAL_BYTES = 640 << 10
_LOG_MILLISECONDS = 60_000

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
        self._cold_max_bytes = min(max_bytes * 3 // 4, max_bytes - _WAL_BYTES)
        self._boot = boot
        self._now = now  # the time makes ids unique even when the disk cannot say which are taken
        self._new_name = new_name
        self._logged_at: int | None = None
        self._forgotten: list[Piece] = []
        self._known: dict[int, _OnDisk] = {}
        self._cold = self._open_cold()
        self._hot = self._open_hot()
        self._current = self._take_up()
        self._in_hot(self._note)

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
        """The smallest number of the current stream that may still wait; the next number when none does."""
        return self._oldest(self._current.id) or self.next_seq

    @property
    def dropped(self) -> int:
        """How many samples of the current stream were dropped, ever."""
        return self._dropped(self._current.id)

    @property
    def waiting(self) -> int:
        """How many samples wait, of all streams."""
        return self._in_hot(Store.count) + self._on_disk(Store.count, 0)

    def earlier_streams(self, limit: int) -> list[EarlierStream]:
        """What is known of the streams before the current one, the newest `limit` of them."""
        nothing: list[Stream] = []
        known = {stream.id: stream for stream in self._on_disk(Store.streams, nothing) + self._in_hot(Store.streams)}
        earlier = [known[stream_id] for stream_id in sorted(known, reverse=True) if stream_id != self._current.id]
        return [self._earlier(stream) for stream in earlier[:limit] if stream.next_seq > 1]

    def append(self, sampled_at: int, vitals: Vitals, extra: Extra) -> Sample:
        """Number a sample and keep it. `sampled_at`: milliseconds of the machine's clock."""
        body = json.dumps([vitals.model_dump(exclude_none=True), extra], separators=(",", ":"))
        seq = self._in_hot(lambda hot: self._keep(hot, sampled_at, body))
        return Sample.model_construct(seq=seq, sampled_at=sampled_at, vitals=vitals, extra=extra)

    def ack(self, stream: str, ranges: Sequence[Range]) -> None:
        """Let go of the samples with these numbers. Unknown streams and numbers are ignored."""
        stream_id = self._in_hot(lambda hot: hot.stream_id(stream))
        if stream_id is None:
            stream_id = self._on_disk(lambda cold: cold.stream_id(stream), None)
        if stream_id is None:
            return
        last = self.next_seq - 1 if stream_id == self._current.id else INTEGER_MAX
        pieces = [Piece(stream_id, piece.first, min(piece.last, last)) for piece in ranges if piece.first <= last]
        self._forgotten = _merged(self._forgotten + pieces)
        self._in_hot(lambda hot: hot.forget(self._forgotten))
        if self._on_disk(self._forget, False):
            self._forgotten = []

    def spill(self, *, before_seq: int | None = None) -> None:
        """Move all that waits in the hot store to disk; with `before_seq`, only if something before it waits there."""
        but = self._fresh(before_seq)
        if not self._in_hot(lambda hot: hot.rows(but=but, limit=1)):
            return
        while rows := _at_once(self._in_hot(lambda hot: hot.rows(limit=_SPILL_ROWS))):
            if not self._to_disk(rows):
                return

    def batch(self, limit: int, *, before_seq: int | None = None) -> Batch | None:
        """The oldest waiting samples, up to `limit`; those of the current stream only below `before_seq`."""
        but = self._fresh(before_seq)
        nothing: list[Row] = []
        rows = self._on_disk(lambda cold: cold.rows(but=but, limit=limit), nothing)
        if len(rows) < limit:
            rows = rows + self._in_hot(lambda hot: hot.rows(but=but, limit=limit))
        rows = [row for row in rows[:limit] if row.stream_id == rows[0].stream_id]
        samples = self._readable(rows)
        name = self._name(rows[0].stream_id) if samples else None
        if name is None:
            return None
        return Batch(
            stream=name,
            oldest_seq=self._oldest(rows[0].stream_id) or samples[0].seq,
            dropped=self._dropped(rows[0].stream_id),
            samples=samples,
        )

    def close(self) -> None:
        """Put everything on disk."""
        self.spill()
        for store in (self._cold, self._hot):
            if store is not None:
                with suppress(sqlite3.Error):
                    store.close()

    # Taking up after a stop, a crash or a power cut.

    def _take_up(self) -> Stream:
        """The stream to go on with: the hot store's when this boot wrote it, else a new one."""
        self._current = self._new_stream(0)
        self._forget_copies()
        meta = self._in_hot(Store.meta)
        if meta is not None and meta.boot == self._boot:
            found = self._in_hot(lambda hot: hot.stream(meta.stream_id))
            if found is not None:
                return found
        left = self._in_hot(Store.contents)
        if left.streams:
            adopted = self._on_disk(lambda cold: self._adopt(cold, left), False)
            if adopted:
                self._begin_hot()
            else:
                self._forget_copies()
        return self._new_stream(max([0, *(stream.id for stream in left.streams)]))

    def _forget_copies(self) -> None:
        """Samples that a death in the middle of a spill left in both stores must not be counted or dropped twice."""
        rows = self._in_hot(Store.rows)
        nothing: list[Row] = []
        copies = self._on_disk(lambda cold: cold.known(rows), nothing) if rows else nothing
        self._in_hot(lambda hot: hot.forget(_pieces(copies)))

    def _new_stream(self, newest_id: int) -> Stream:
        newest = max(newest_id, self._on_disk(Store.newest_stream_id, 0))
        return Stream(max(newest + 1, self._now()), self._new_name(), 1)

    def _begin_hot(self) -> None:
        """A new hot store, when all of the last one is on disk."""
        self._hot.close()
        with suppress(OSError):
            self._hot_path.unlink()
        self._hot = self._open_hot()

    # The hot store.

    def _in_hot(self, work: Callable[[Store], T]) -> T:
        """Do something with the hot store; when it fails, go on in the process's memory."""
        try:
            return work(self._hot)
        except sqlite3.DatabaseError as error:
            self._replace_hot(error)
            return work(self._hot)

    def _keep(self, hot: Store, sampled_at: int, body: str) -> int:
        seq = self.next_seq
        stream = self._current._replace(next_seq=seq + 1)
        hot.make_room(HOT_MAX_BYTES)
        hot.add([stream], [Row(stream.id, seq, sampled_at, body)])
        self._current = stream
        return seq

    def _note(self, hot: Store) -> None:
        hot.note(Meta(self._boot, self._current.id), self._current)

    def _open_hot(self) -> Store:
        try:
            return self._open(self._hot_path, durable=False)
        except sqlite3.DatabaseError as error:
            if is_locked(error) and self._cold is not None:
                self._cold.close()
            self._refuse_if_locked(error, self._hot_path)
            log.warning("cannot use %s (%s): the last samples wait in the process only", self._hot_path, error)
            return Store.in_memory()

    def _replace_hot(self, error: sqlite3.DatabaseError) -> None:
        """Go on without the hot store's file, with what of it can still be read, and with a new stream.

        The file knows no number that is given out from now on, so a later start must not go on with its stream.
        """
        log.error("the hot store failed (%s): going on in the process's memory", error)
        left = Contents([], [], [])
        with suppress(sqlite3.Error):
            left = self._hot.contents()
        with suppress(sqlite3.Error):
            self._hot.close()
        if is_corrupt(error):
            self._move_aside(self._hot_path)
        with suppress(OSError):
            self._hot_path.unlink()
        self._hot = Store.in_memory()
        self._current = self._new_stream(self._current.id)
        self._note(self._hot)
        self._hot.take_over(left)

    # The cold store.

    def _open_cold(self) -> Store | None:
        try:
            return self._open(self._cold_path, durable=True)
        except sqlite3.DatabaseError as error:
            self._refuse_if_locked(error, self._cold_path)
            self._count(error)
            return None

    def _on_disk(self, work: Callable[[Store], T], otherwise: T) -> T:
        """Do something with the cold store. A failure is counted and gives `otherwise`; a corrupt store is replaced."""
        try:
            if self._cold is None:
                self._cold = self._open(self._cold_path, durable=True)
            return work(self._cold)
        except sqlite3.DatabaseError as error:
            self._count(error)
            if self._cold is not None and is_corrupt(error):
                with suppress(sqlite3.Error):
                    self._cold.close()
                self._cold = None
                self._known.clear()
                self._move_aside(self._cold_path)
            return otherwise

    def _count(self, error: sqlite3.DatabaseError) -> None:
        self.disk_failures += 1
        if self._logged_at is None or abs(self._now() - self._logged_at) >= _LOG_MILLISECONDS:
            self._logged_at = self._now()
            log.warning(
                "the disk queue failed (%s), %s times so far: samples wait in memory", error, self.disk_failures
            )

    def _to_disk(self, rows: list[Row]) -> bool:
        """Move these samples out of the hot store."""
        streams = self._in_hot(Store.streams)
        moved = self._on_disk(lambda cold: self._add(cold, streams, rows), False)
        if moved:
            self._in_hot(lambda hot: hot.forget(_pieces(rows)))
        return moved

    def _add(self, cold: Store, streams: Sequence[Stream], rows: Sequence[Row]) -> bool:
        cold.make_room(self._cold_max_bytes - sum(_size(row) for row in rows))
        cold.add(streams, rows)
        return True

    def _adopt(self, cold: Store, left: Contents) -> bool:
        rows = left.rows
        while some := _at_once(rows):
            self._add(cold, left.streams, some)
            rows = rows[len(some) :]
        cold.take_over(left._replace(rows=[]))
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

    def _fresh(self, before_seq: int | None) -> tuple[int, int]:
        return (self._current.id, self.next_seq if before_seq is None else before_seq)

    def _readable(self, rows: Sequence[Row]) -> list[Sample]:
        """The samples in these rows, ascending. Rows that are damaged are dropped."""
        samples: dict[int, Sample] = {}
        damaged = []
        for row in rows:
            try:
                samples[row.seq] = _sample(row)
            except (ValueError, TypeError):
                damaged.append(row)
        if damaged:
            log.error("%s samples in the queue were damaged and are dropped", len(damaged))
            gone = self._in_hot(lambda hot: hot.drop(damaged))
            self._on_disk(lambda cold: cold.drop(damaged, surely=gone == 0), 0)
        return [samples[seq] for seq in sorted(samples)]

    def _look(self, stream_id: int) -> "_OnDisk":
        """What the disk holds of a stream, or held when it could last be read."""
        found = self._on_disk(
            lambda cold: _OnDisk(cold.oldest(stream_id), cold.dropped(stream_id)),
            self._known.get(stream_id, _OnDisk(None, 0)),
        )
        self._known[stream_id] = found
        return found

    def _oldest(self, stream_id: int) -> int | None:
        ends = (self._look(stream_id).oldest, self._in_hot(lambda hot: hot.oldest(stream_id)))
        return min((end for end in ends if end is not None), default=None)

    def _dropped(self, stream_id: int) -> int:
        return self._in_hot(lambda hot: hot.dropped(stream_id)) + self._look(stream_id).dropped

    def _earlier(self, stream: Stream) -> EarlierStream:
        return EarlierStream(
            stream=stream.name,
            highest_seq=stream.next_seq - 1,
            oldest_seq=self._oldest(stream.id),
            dropped=self._dropped(stream.id),
        )

    def _name(self, stream_id: int) -> str | None:
        found = self._in_hot(lambda hot: hot.stream(stream_id))
        return found.name if found is not None else self._on_disk(lambda cold: cold.name(stream_id), None)


class _OnDisk(NamedTuple):
    oldest: int | None
    dropped: int


def _sample(row: Row) -> Sample:
    vitals, extra = json.loads(row.body)
    return Sample.model_validate({"seq": row.seq, "sampled_at": row.sampled_at, "vitals": vitals, "extra": extra})


def _size(row: Row) -> int:
    return len(row.body) + 64


def _at_once(rows: list[Row]) -> list[Row]:
    """The first of these rows, as many as one transaction should write; at least one if there is one."""
    total = 0
    for i, row in enumerate(rows):
        total += _size(row)
        if i and total > _SPILL_BYTES:
            return rows[:i]
    return rows


def _pieces(rows: Sequence[Row]) -> list[Piece]:
    return _merged([Piece(row.stream_id, row.seq, row.seq) for row in rows])


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The same numbers in as few pieces as possible."""
    merged: list[Piece] = []
    for piece in sorted(pieces):
        if merged and merged[-1].stream_id == piece.stream_id and piece.first <= merged[-1].last + 1:
            merged[-1] = merged[-1]._replace(last=max(merged[-1].last, piece.last))
        else:
            merged.append(piece)
    return merged
