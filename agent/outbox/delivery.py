"""Delivery of samples: each live the moment it is taken, and those that wait as backfill.

Invariants:
- Live first: waiting samples travel in batches, one at a time, the next when the ingestor has acknowledged the last. So
  the ingestor sets the pace and an outage never becomes a storm.
- What is published live is left out of the backfill until it has waited for an acknowledgement for SPILL_SECONDS.
"""

from collections import deque
from collections.abc import Callable

from agent.outbox.backfill import BackfillPacing, encoded
from agent.outbox.outbox import SPILL_SECONDS
from agent.outbox.sample_queue import SampleQueue
from agent.session_counter import SessionCounter
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.messages import Sample, Telemetry


class SampleDelivery:
    """Sends the samples of an outbox. `publish` returns False if a message could not be sent."""

    def __init__(
        self,
        outbox: SampleQueue,
        sessions: SessionCounter,
        clock: Clock,
        publish: Callable[[topics.Topic, bytes], bool],
        *,
        compress: bool = True,
    ) -> None:
        self._outbox = outbox
        self._sessions = sessions
        self._clock = clock
        self._publish = publish
        self._compress = compress
        self._live: deque[tuple[int, float]] = deque()
        """Samples that were published live: sequence number and time."""
        self._acknowledged_seq = 0
        """Highest number of the current stream that was acknowledged."""
        self._pacing = BackfillPacing(clock)

    @property
    def due_at(self) -> float:
        """When the batch on its way counts as lost, in seconds of the monotonic clock."""
        return self._pacing.due_at

    @property
    def all_acknowledged(self) -> bool:
        """True if everything that was sent is acknowledged, or counts as lost."""
        return self._pacing.may_send() and (not self._live or self._live[-1][0] <= self._acknowledged_seq)

    def send_live(self, sample: Sample) -> None:
        """Publish a sample that was just taken."""
        telemetry = Telemetry(
            **dict(sample),
            session=self._sessions.current,
            stream=self._outbox.stream,
            oldest_seq=self._outbox.oldest_seq,
            dropped=self._outbox.dropped,
        )
        if self._publish(topics.TELEMETRY, telemetry.encode(compress=self._compress)):
            self._live.append((sample.seq, self._clock.monotonic()))

    def spill(self, *, connected: bool) -> None:
        """Write to disk what the ingestor has not acknowledged in time."""
        if not connected:
            self._outbox.spill()
            return
        while self._live and self._clock.monotonic() - self._live[0][1] > SPILL_SECONDS:
            self._live.popleft()
        self._outbox.spill(before_seq=self._before_seq)

    def backfill(self) -> None:
        """Send the next batch of waiting samples, if it may be sent."""
        if not self._pacing.may_send():
            return
        batch = self._outbox.batch(self._pacing.limit, before_seq=self._before_seq)
        if batch is None:
            return
        samples, payload = encoded(batch, self._sessions.current)
        if self._publish(topics.BACKFILL, payload):
            self._pacing.sent(batch.stream, samples[-1].seq)

    def acked(self, ack: Ack) -> None:
        """Record an answer of the ingestor."""
        if ack.stream == self._outbox.stream:
            self._acknowledged_seq = max(self._acknowledged_seq, *(each.last for each in ack.ranges))
        self._pacing.acked(ack)

    def connection_lost(self) -> None:
        """Forget what was on its way."""
        self._live.clear()
        self._pacing.connection_lost()

    @property
    def _before_seq(self) -> int | None:
        return self._live[0][0] if self._live else None
