"""The batch on its way to the ingestor: when the next may be sent, and how large.

Invariants:
- One batch is on its way at a time; the next goes when it is acknowledged. So the ingestor sets the pace.
- One that nobody answers is sent again, later and later while nothing at all is heard from the ingestor, and within
  FIRST_SECONDS once anything is.
- After a connection that was lost under a batch the next is half as large, so that a slow link gets it through.
"""

from collections.abc import Callable

from schemas.contract.messages import BACKFILL_MAX_SAMPLES, Ack

FIRST_SECONDS = 10.0
MOST_SECONDS = 300.0
LEAST_SAMPLES = 10


class Resend:
    """When to send the next batch and how large: one is on its way at a time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.limit = BACKFILL_MAX_SAMPLES
        """Samples in the next batch at most."""
        self.due_at = float("inf")
        """When the batch on its way counts as lost, in seconds of the monotonic clock."""
        self._monotonic = monotonic
        self._outstanding: tuple[str, int] | None = None
        self._patience = FIRST_SECONDS

    def may_send(self) -> bool:
        """Whether no batch is on its way, or the last has been for too long."""
        if self._outstanding is not None and self._monotonic() >= self.due_at:
            self._outstanding = None
            self._patience = min(MOST_SECONDS, 2 * self._patience)
            self.due_at = float("inf")
        return self._outstanding is None

    def sent(self, stream: str, last_seq: int) -> None:
        """A batch that ends with this sample is on its way."""
        self._outstanding = (stream, last_seq)
        self.due_at = self._monotonic() + self._patience

    def acked(self, ack: Ack) -> None:
        """The ingestor answered: the batch has arrived if its last sample is in the answer."""
        self._patience = FIRST_SECONDS
        if self._outstanding is None:
            return
        stream, last_seq = self._outstanding
        if ack.stream == stream and any(piece.first <= last_seq <= piece.last for piece in ack.ranges):
            self.limit = min(BACKFILL_MAX_SAMPLES, 2 * self.limit)
            self._forget()
        else:
            self.due_at = min(self.due_at, self._monotonic() + FIRST_SECONDS)

    def connection_lost(self) -> None:
        """Whatever was on its way is not any more. It may have been too much for a slow link: send less next time."""
        if self._outstanding is not None:
            self.limit = max(LEAST_SAMPLES, self.limit // 2)
        self._forget()

    def _forget(self) -> None:
        self._outstanding = None
        self.due_at = float("inf")
