"""The outbox: every sample waits here until the ingestor acknowledges that it is in the database.

Invariants:
1. A sample gets its place (`stream`, `seq`) exactly once, and `seq` grows by one within a stream. A stream has a random
   name and belongs to one boot of the machine: the next boot begins a new one, and so does a hot store that failed,
   because the last number of the old one cannot be known for sure. So a number is never used twice, and uptime orders
   the samples of a stream. Only for another `receiver`, which knows none of them, is what waits numbered anew, from 1
   under new names: so its ledger has no gaps where another server stored what came between.
2. A sample leaves only by `ack` or `reject`, or, counted in `dropped`, when it has to make room: the oldest first.
3. Samples wait first in the *hot* store, a file in the system's memory (tmpfs): it survives the death of the process
   and costs the disk nothing. `spill` moves them to the *cold* store, on disk and synced. The agent spills what is not
   acknowledged within SPILL_SECONDS, and everything while it is offline or stops. So a power cut can cost the
   unacknowledged samples of the last SPILL_SECONDS, and nothing that was spilled.
4. A sample is in the hot store, in the cold store, or for a moment in both; never in none.
5. A full or failing disk blocks nothing: samples go on through the hot store, within HOT_MAX_BYTES.
6. A store that SQLite finds corrupt is moved aside for inspection (`quarantined`) and replaced at once. A damaged
   sample in a file that is otherwise sound is dropped, and counted.
7. Only the start may refuse. Later no disk error leaves the outbox, and `disk_failures` counts those of the cold store.
"""

import logging
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from agent.outbox.cold_store import ColdStore, open_or_replace, refuse_if_locked
from agent.outbox.queued_sample import (
    QueuedSample,
    SampleStream,
    StreamRange,
    encoded_body,
    first_transaction,
    merged,
    ranges_of,
)
from agent.outbox.sample_file import FileContents, SampleFile, StreamFigures
from agent.sqlite_file import is_corrupt, is_locked, move_aside
from runtime.clock import Clock
from schemas.contract.ack import Range
from schemas.contract.messages import INTEGER_MAX, EarlierStream, Extra, Sample, Series, Vitals

SPILL_SECONDS = 20.0
HOT_MAX_BYTES = 4 << 20
_SPILL_SAMPLES = 500
_WAL_BYTES = 640 << 10

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxBatch:
    """Waiting samples of one stream, ascending, with the figures of that stream for the ingestor's ledger."""

    stream: str
    oldest_seq: int
    dropped: int
    samples: list[Sample]


class Outbox:
    """The queue of one agent, for one thread of one process.

    `cold` and `hot` are the files of the two stores; `max_bytes` (at least 1 MiB) bounds the cold one with its WAL.
    `boot` names the current boot of the machine, `receiver` the server that stores the samples: another after each
    move, empty before the first. Raises SettingsError when another process uses the same outbox.
    """

    def __init__(
        self,
        cold: Path,
        hot: Path,
        *,
        max_bytes: int,
        boot: str,
        clock: Clock,
        receiver: str = "",
        new_name: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.quarantined: list[Path] = []
        self.acknowledged_seq = 0
        """Highest number of the current stream that was acknowledged as stored, 0 for none in this process."""
        self._hot_path = hot
        self._cold_max_bytes = min(max_bytes * 3 // 4, max_bytes - _WAL_BYTES)
        self._boot = f"{boot} {receiver}".rstrip()
        self._clock = clock  # the time makes stream ids unique even when the disk cannot tell which exist
        self._new_name = new_name
        self._acknowledged: list[StreamRange] = []
        """Ranges still to be deleted from the cold store, because the disk failed."""
        self._cold = ColdStore(cold, quarantined=self.quarantined, clock=clock)
        self._hot = self._open_hot()
        self._current = self._recover()
        self._renumber(receiver)
        self._in_hot(self._record_use)

    @property
    def disk_failures(self) -> int:
        """Number of failed accesses to the cold store."""
        return self._cold.failures

    @property
    def stream(self) -> str:
        """Name of the current stream."""
        return self._current.name

    @property
    def next_seq(self) -> int:
        """Sequence number of the next sample."""
        return self._current.next_seq

    @property
    def oldest_seq(self) -> int:
        """Smallest number of the current stream that may still wait; the next number when none does."""
        return self._figures(self._current.id).oldest or self.next_seq

    @property
    def dropped(self) -> int:
        """Number of samples of the current stream that were ever dropped."""
        return self._figures(self._current.id).dropped

    def earlier_streams(self, limit: int) -> list[EarlierStream]:
        """Return the streams before the current one, the newest `limit` of them."""
        none: list[SampleStream] = []
        streams = self._cold.run(SampleFile.streams, none) + self._in_hot(SampleFile.streams)
        known = {stream.id: stream for stream in streams}
        earlier = [known[stream_id] for stream_id in sorted(known, reverse=True) if stream_id != self._current.id]
        figures = [(stream, self._figures(stream.id)) for stream in earlier[:limit] if stream.next_seq > 1]
        return [
            EarlierStream(stream=stream.name, highest_seq=stream.next_seq - 1, oldest_seq=oldest, dropped=dropped)
            for stream, (oldest, dropped) in figures
        ]

    def append(self, sampled_at: int, vitals: Vitals, extra: Extra, series: Series | None = None) -> Sample:
        """Number a sample and store it. `sampled_at`: milliseconds of the machine's clock."""
        body = encoded_body(vitals, extra, series or {})
        seq = self._in_hot(lambda hot: self._append_to(hot, sampled_at, body))
        return Sample.model_construct(seq=seq, sampled_at=sampled_at, vitals=vitals, extra=extra, series=series or {})

    def ack(self, stream: str, ranges: Sequence[Range]) -> None:
        """Delete the samples with these numbers, which are stored. Unknown streams and numbers are ignored."""
        if stream == self.stream:
            highest = max((each.last for each in ranges), default=0)
            self.acknowledged_seq = max(self.acknowledged_seq, min(highest, self.next_seq - 1))
        self._delete(stream, ranges)

    def _delete(self, stream: str, ranges: Sequence[Range]) -> None:
        stream_id = self._in_hot(lambda hot: hot.stream_id(stream))
        if stream_id is None:
            stream_id = self._cold.run(lambda cold: cold.stream_id(stream), None)
        if stream_id is None:
            return
        last = self.next_seq - 1 if stream_id == self._current.id else INTEGER_MAX
        known = [StreamRange(stream_id, each.first, min(each.last, last)) for each in ranges if each.first <= last]
        self._acknowledged = merged(self._acknowledged + known)
        self._in_hot(lambda hot: hot.delete(self._acknowledged))
        if self._cold.write(lambda cold: cold.delete(self._acknowledged)):
            self._acknowledged = []

    def reject(self, stream: str, ranges: Sequence[Range]) -> int:
        """Delete samples that the ingestor will never store; return the number of those that waited here."""
        before = self._waiting()
        self._delete(stream, ranges)
        return before - self._waiting()

    def spill(self, *, before_seq: int | None = None) -> None:
        """Move everything in the hot store to disk; with `before_seq`, only if a lower number waits there."""
        below = self._not_live(before_seq)
        if not self._in_hot(lambda hot: hot.samples(below=below, limit=1)):
            return
        while samples := first_transaction(self._in_hot(lambda hot: hot.samples(limit=_SPILL_SAMPLES))):
            if not self._move_to_disk(samples):
                return

    def batch(self, limit: int, *, before_seq: int | None = None) -> OutboxBatch | None:
        """Return the oldest waiting samples, up to `limit`; of the current stream only those below `before_seq`."""
        below = self._not_live(before_seq)
        none: list[QueuedSample] = []
        queued = self._cold.run(lambda cold: cold.samples(below=below, limit=limit), none)
        if len(queued) < limit:
            queued = queued + self._in_hot(lambda hot: hot.samples(below=below, limit=limit))
        queued = [each for each in queued[:limit] if each.stream_id == queued[0].stream_id]
        samples = self._decoded(queued)
        name = self._name(queued[0].stream_id) if samples else None
        if name is None:
            return None
        figures = self._figures(queued[0].stream_id)
        return OutboxBatch(name, figures.oldest or samples[0].seq, figures.dropped, samples)

    def close(self) -> None:
        """Move everything to disk and close both stores."""
        self.spill()
        self._cold.close()
        with suppress(sqlite3.Error):
            self._hot.close()

    # Recovery after a stop, a crash or a power cut.

    def _recover(self) -> SampleStream:
        """Return the stream to continue: the hot store's when this boot wrote it, else a new one."""
        self._current = self._new_stream(0)
        self._delete_copies()
        last_use = self._in_hot(SampleFile.last_use)
        if last_use is not None and last_use.boot == self._boot:
            found = self._in_hot(lambda hot: hot.stream(last_use.stream_id))
            if found is not None:
                return found
        left = self._in_hot(SampleFile.contents)
        if left.streams:
            if self._cold.write(lambda cold: self._adopt(cold, left)):
                self._restart_hot()
            else:
                self._delete_copies()
        return self._new_stream(max([0, *(stream.id for stream in left.streams)]))

    def _delete_copies(self) -> None:
        """Delete hot samples that are on disk too: a death during a spill must not count or drop them twice."""
        samples = self._in_hot(SampleFile.samples)
        none: list[QueuedSample] = []
        copies = self._cold.run(lambda cold: cold.existing(samples), none) if samples else none
        self._in_hot(lambda hot: hot.delete(ranges_of(copies)))

    def _new_stream(self, newest_id: int) -> SampleStream:
        newest = max(newest_id, self._cold.run(SampleFile.newest_stream_id, 0))
        return SampleStream(max(newest + 1, self._clock.now()), self._new_name(), 1)

    def _renumber(self, receiver: str) -> None:
        """Number anew what waits for another receiver, unless a failing disk left a part of it in the hot store."""
        if all(sample.stream_id >= self._current.id for sample in self._in_hot(SampleFile.samples)):
            before = self._current.id
            self._cold.write(lambda cold: cold.renumber(receiver, self._new_name, before_id=before))

    def _restart_hot(self) -> None:
        self._hot.close()
        with suppress(OSError):
            self._hot_path.unlink()
        self._hot = self._open_hot()

    # The hot store.

    def _in_hot(self, work: Callable[[SampleFile], T]) -> T:
        """Return the result of `work` on the hot store; when the file fails, continue in the process's memory."""
        try:
            return work(self._hot)
        except sqlite3.DatabaseError as error:
            self._replace_hot(error)
            return work(self._hot)

    def _append_to(self, hot: SampleFile, sampled_at: int, body: str) -> int:
        seq = self.next_seq
        stream = self._current._replace(next_seq=seq + 1)
        hot.make_room(HOT_MAX_BYTES)
        hot.add([stream], [QueuedSample(stream.id, seq, sampled_at, body)])
        self._current = stream
        return seq

    def _record_use(self, hot: SampleFile) -> None:
        hot.record_use(self._boot, self._current)

    def _open_hot(self) -> SampleFile:
        try:
            return open_or_replace(self._hot_path, durable=False, quarantined=self.quarantined)
        except sqlite3.DatabaseError as error:
            if is_locked(error):
                self._cold.close()
            refuse_if_locked(error, self._hot_path)
            log.warning("cannot use %s (%s): new samples wait in the memory of the process", self._hot_path, error)
            return SampleFile.in_memory()

    def _replace_hot(self, error: sqlite3.DatabaseError) -> None:
        """Continue without the file, with its readable content, and with a new stream.

        The file does not learn the numbers that are assigned from now on, so no later start may continue its stream.
        """
        log.error("the hot store failed (%s): continuing in the memory of the process", error)
        left = FileContents([], [], [])
        with suppress(sqlite3.Error):
            left = self._hot.contents()
        with suppress(sqlite3.Error):
            self._hot.close()
        if is_corrupt(error):
            move_aside(self._hot_path, error, self.quarantined)
        with suppress(OSError):
            self._hot_path.unlink()
        self._hot = SampleFile.in_memory()
        self._current = self._new_stream(self._current.id)
        self._record_use(self._hot)
        self._hot.adopt(left)

    # The cold store.

    def _move_to_disk(self, samples: list[QueuedSample]) -> bool:
        streams = self._in_hot(SampleFile.streams)
        moved = self._cold.write(lambda cold: self._add(cold, streams, samples))
        if moved:
            self._in_hot(lambda hot: hot.delete(ranges_of(samples)))
        return moved

    def _add(self, cold: SampleFile, streams: Sequence[SampleStream], samples: Sequence[QueuedSample]) -> None:
        cold.make_room(self._cold_max_bytes - sum(sample.size for sample in samples))
        cold.add(streams, samples)

    def _adopt(self, cold: SampleFile, left: FileContents) -> None:
        samples = left.samples
        while some := first_transaction(samples):
            self._add(cold, left.streams, some)
            samples = samples[len(some) :]
        cold.adopt(left._replace(samples=[]))

    # Both stores.

    def _waiting(self) -> int:
        return self._cold.run(SampleFile.count, 0) + self._in_hot(SampleFile.count)

    def _not_live(self, before_seq: int | None) -> tuple[int, int]:
        return (self._current.id, self.next_seq if before_seq is None else before_seq)

    def _decoded(self, queued: Sequence[QueuedSample]) -> list[Sample]:
        samples: dict[int, Sample] = {}
        damaged = []
        for each in queued:
            try:
                samples[each.seq] = each.decoded()
            except (ValueError, TypeError):
                damaged.append(each)
        if damaged:
            log.error("dropped %s damaged samples of the queue", len(damaged))
            gone = self._in_hot(lambda hot: hot.drop(damaged))
            self._cold.run(lambda cold: cold.drop(damaged, must_exist=gone == 0), 0)
        return [samples[seq] for seq in sorted(samples)]

    def _figures(self, stream_id: int) -> StreamFigures:
        cold, hot = self._cold.figures(stream_id), self._in_hot(lambda hot: hot.figures(stream_id))
        oldest = min((each for each in (cold.oldest, hot.oldest) if each is not None), default=None)
        return StreamFigures(oldest, cold.dropped + hot.dropped)

    def _name(self, stream_id: int) -> str | None:
        found = self._in_hot(lambda hot: hot.stream(stream_id))
        return found.name if found is not None else self._cold.run(lambda cold: cold.name(stream_id), None)
