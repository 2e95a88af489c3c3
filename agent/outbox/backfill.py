"""Backfill: when the next batch of waiting samples may be sent, and how large it is.

Invariants:
- One batch is on its way at a time; the next is sent when it is acknowledged. So the ingestor sets the pace.
- An unanswered batch is retried with backoff while nothing at all is heard from the ingestor, and within FIRST_SECONDS
  once anything is.
- A connection that is lost under a batch halves the size of the next, so that a slow link gets it through.
"""

from agent.outbox.outbox import OutboxBatch
from runtime.clock import Clock
from schemas.contract.ack import Ack
from schemas.contract.backfill import BATCH_COLUMNS_MAX, Backfill
from schemas.contract.messages import BACKFILL_MAX_SAMPLES, EXTRA_MAX, SERIES_MAX, Sample

FIRST_SECONDS = 10.0
MOST_SECONDS = 300.0
LEAST_SAMPLES = 10
BACKFILL_MAX_BYTES = 128 << 10
"""Half of `BrokerSettings.max_packet_bytes`: the embedded broker disconnects a client that sends a larger packet."""


class BackfillPacing:
    """Decides when the next batch is sent and how large it is."""

    def __init__(self, clock: Clock) -> None:
        self.limit = BACKFILL_MAX_SAMPLES
        """Maximum number of samples in the next batch."""
        self.due_at = float("inf")
        """When the batch on its way counts as lost, in seconds of the monotonic clock."""
        self._clock = clock
        self._outstanding: tuple[str, int] | None = None
        self._retry_seconds = FIRST_SECONDS

    def may_send(self) -> bool:
        """Return True if no batch is on its way, or the last one counts as lost."""
        if self._outstanding is not None and self._clock.monotonic() >= self.due_at:
            self._reset()
            self._retry_seconds = min(MOST_SECONDS, 2 * self._retry_seconds)
        return self._outstanding is None

    def sent(self, stream: str, last_seq: int) -> None:
        """Record that a batch that ends with this sample is on its way."""
        self._outstanding = (stream, last_seq)
        self.due_at = self._clock.monotonic() + self._retry_seconds

    def acked(self, ack: Ack) -> None:
        """Record an answer of the ingestor: the batch has arrived if the answer includes its last sample."""
        self._retry_seconds = FIRST_SECONDS
        if self._outstanding is None:
            return
        stream, last_seq = self._outstanding
        answered = [(ack.stream, ack.ranges), *((each.stream, each.ranges) for each in ack.rejected)]
        ranges = [each for name, some in answered if name == stream for each in some]
        if any(each.first <= last_seq <= each.last for each in ranges):
            self.limit = min(BACKFILL_MAX_SAMPLES, 2 * self.limit)
            self._reset()
        else:
            self.due_at = min(self.due_at, self._clock.monotonic() + FIRST_SECONDS)

    def connection_lost(self) -> None:
        """Forget the batch on its way, and halve the next: it may have been too large for a slow link."""
        if self._outstanding is not None:
            self.limit = max(LEAST_SAMPLES, self.limit // 2)
        self._reset()

    def _reset(self) -> None:
        self._outstanding = None
        self.due_at = float("inf")


def encoded(batch: OutboxBatch, session: int) -> tuple[list[Sample], bytes]:
    """Return the first samples of a batch, as many as fit into one message, and that message."""
    samples = batch.samples
    while True:
        if _columns_fit(samples):
            payload = Backfill.of(
                samples, session=session, stream=batch.stream, oldest_seq=batch.oldest_seq, dropped=batch.dropped
            ).encode()
            if len(payload) <= BACKFILL_MAX_BYTES or len(samples) == 1:
                return samples, payload
        samples = samples[: len(samples) // 2]


def _columns_fit(samples: list[Sample]) -> bool:
    """Return whether the samples have no more columns together than a batch: metrics and devices come and go."""
    columns = {(metric, device) for sample in samples for metric, by in sample.series.items() for device in by}
    return (
        len({name for sample in samples for name in sample.extra}) <= EXTRA_MAX
        and len(columns) <= BATCH_COLUMNS_MAX
        and len({metric for metric, _ in columns}) <= SERIES_MAX
    )
