"""Pace of a transfer: when the next message is due, and of how many bytes of the file it is.

Invariants:
- One message is open at a time. On a slow connection it is about few bytes, so that no message holds up a command or an
  acknowledgement for long, and about `bytes_per_second` are transferred at most.
- A message without an answer is repeated, after a lost connection at once.
"""

from runtime.clock import Clock
from schemas.contract.files.transfer import CHUNK_MAX_BYTES

ANSWER_SECONDS = 10.0
"""Time after which a message is repeated."""

PATIENCE_SECONDS = 300.0
"""Time without progress, while connected, after which a file is given up."""

_FIRST_BYTES = 16 << 10
_LEAST_BYTES = 4 << 10
_AIM_SECONDS = 1.0
"""Time that a message and its answer shall take: long enough for the latency, short enough for what waits behind it."""


class Pace:
    """The pace of the transfers in one direction."""

    def __init__(self, clock: Clock, bytes_per_second: float) -> None:
        self.length = _FIRST_BYTES
        """Bytes of the file that the next message is about."""
        self._clock = clock
        self._bytes_per_second = bytes_per_second
        self._sent_at: float | None = None
        self._next_at = self._progress_at = clock.monotonic()

    @property
    def due_at(self) -> float:
        """When a message is due, in seconds of the monotonic clock."""
        return self._next_at if self._sent_at is None else self._sent_at + ANSWER_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether a message is due now."""
        return self._clock.monotonic() >= self.due_at

    @property
    def is_hopeless(self) -> bool:
        """Whether there has been no progress for PATIENCE_SECONDS."""
        return self._clock.monotonic() - self._progress_at > PATIENCE_SECONDS

    def sent(self) -> None:
        """Record that a message is sent; an open one had no answer, so the connection is slow or the server busy."""
        if self._sent_at is not None:
            self.length = max(_LEAST_BYTES, self.length // 2)
        self._sent_at = self._clock.monotonic()

    def answered(self, size: int) -> None:
        """Record the answer to a message about this number of bytes."""
        now = self._clock.monotonic()
        if self._sent_at is not None:
            took = now - self._sent_at
            scale = min(2.0, max(0.5, _AIM_SECONDS / max(took, 0.001)))
            self.length = min(CHUNK_MAX_BYTES, max(_LEAST_BYTES, round(self.length * scale)))
            self._next_at = max(now, self._sent_at + size / self._bytes_per_second)
        self._sent_at, self._progress_at = None, now

    def wait(self) -> None:
        """Record that there is nothing to transfer, or no connection."""
        self._progress_at = self._clock.monotonic()

    def forget(self) -> None:
        """Forget the open message: it is lost, or no longer needed."""
        self._sent_at = None
