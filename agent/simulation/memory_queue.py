"""A queue of samples in memory, which counts what became of them.

Invariant: every sample that was taken is acknowledged, rejected, dropped or waiting.
"""

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.outbox.outbox import OutboxBatch
from runtime.clock import Clock
from schemas.contract.ack import Range
from schemas.contract.messages import EarlierStream, Extra, Sample, Series, Vitals

WAITING_MAX = 10_000
"""Samples of one machine that wait at most: about a day at an interval of ten seconds."""


@dataclass(slots=True)
class _MemoryStream:
    name: str
    next_seq: int = 1
    dropped: int = 0
    waiting: dict[int, Sample] = field(default_factory=dict)

    @property
    def oldest(self) -> int | None:
        return next(iter(self.waiting), None)


class MemoryQueue:
    """A `SampleQueue` without files. `latencies` are seconds from a sample to its acknowledgement, of the last few."""

    def __init__(self, clock: Clock, *, latencies_max: int = 100) -> None:
        self.taken = self.acknowledged = self.rejected = self.dropped_total = 0
        self.latencies: deque[float] = deque(maxlen=latencies_max)
        self._clock = clock
        self._taken_at: dict[tuple[str, int], float] = {}
        self._streams = [_MemoryStream(secrets.token_hex(8))]

    @property
    def stream(self) -> str:
        """Name of the current stream."""
        return self._current.name

    @property
    def oldest_seq(self) -> int:
        """Smallest number of the current stream that waits; the next number when none does."""
        return self._current.oldest or self._current.next_seq

    @property
    def dropped(self) -> int:
        """Number of samples of the current stream that were dropped."""
        return self._current.dropped

    @property
    def waiting(self) -> int:
        """Number of samples that wait, of all streams."""
        return sum(len(stream.waiting) for stream in self._streams)

    @property
    def _current(self) -> _MemoryStream:
        return self._streams[-1]

    def earlier_streams(self, limit: int) -> list[EarlierStream]:
        """Return the streams before the current one, the newest `limit` of them."""
        earlier = [stream for stream in self._streams[:-1] if stream.next_seq > 1][-limit:]
        return [
            EarlierStream(stream=each.name, highest_seq=each.next_seq - 1, oldest_seq=each.oldest, dropped=each.dropped)
            for each in reversed(earlier)
        ]

    def append(self, sampled_at: int, vitals: Vitals, extra: Extra, series: Series | None = None) -> Sample:
        """Number a sample and keep it; the oldest of the stream makes room."""
        stream = self._current
        if len(stream.waiting) >= WAITING_MAX:
            oldest = next(iter(stream.waiting))
            del stream.waiting[oldest]
            self._taken_at.pop((stream.name, oldest), None)
            stream.dropped += 1
            self.dropped_total += 1
        sample = Sample.model_construct(
            seq=stream.next_seq, sampled_at=sampled_at, vitals=vitals, extra=extra, series=series or {}
        )
        stream.waiting[sample.seq] = sample
        stream.next_seq += 1
        self.taken += 1
        self._taken_at[stream.name, sample.seq] = self._clock.monotonic()
        return sample

    def ack(self, stream: str, ranges: Sequence[Range]) -> None:
        """Delete the samples with these numbers, and record how long they waited."""
        now = self._clock.monotonic()
        for seq in self._delete(stream, ranges):
            self.acknowledged += 1
            self.latencies.append(now - self._taken_at.pop((stream, seq), now))

    def reject(self, stream: str, ranges: Sequence[Range]) -> int:
        """Delete samples that will never be stored; return their number."""
        gone = self._delete(stream, ranges)
        for seq in gone:
            self._taken_at.pop((stream, seq), None)
        self.rejected += len(gone)
        return len(gone)

    def spill(self, *, before_seq: int | None = None) -> None:
        """Do nothing: memory is all there is."""

    def batch(self, limit: int, *, before_seq: int | None = None) -> OutboxBatch | None:
        """Return the oldest waiting samples, up to `limit`; of the current stream only those below `before_seq`."""
        for stream in self._streams:
            below = before_seq if stream is self._current else None
            found = [each for each in stream.waiting.values() if below is None or each.seq < below][:limit]
            if found:
                return OutboxBatch(stream.name, stream.oldest or 1, stream.dropped, found)
        return None

    def close(self) -> None:
        """Keep everything: the queue goes on with the machine's next agent."""

    def reboot(self) -> None:
        """Begin a new stream, as after a boot of the machine. Streams with nothing to tell are forgotten."""
        self._streams = [*(stream for stream in self._streams if stream.waiting), _MemoryStream(secrets.token_hex(8))]

    def _delete(self, name: str, ranges: Sequence[Range]) -> list[int]:
        stream = next((stream for stream in self._streams if stream.name == name), None)
        if stream is None:
            return []
        gone = []
        for each in ranges:
            wide = each.last - each.first >= len(stream.waiting)
            numbers = (
                [seq for seq in stream.waiting if each.first <= seq <= each.last]
                if wide
                else range(each.first, each.last + 1)
            )
            gone += [seq for seq in numbers if stream.waiting.pop(seq, None) is not None]
        return gone
