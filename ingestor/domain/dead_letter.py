"""Messages that are rejected, and stored as dead letters."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected message. `reason` is a code of `ingestor.metrics.REASONS`, `detail` a sentence."""

    received_at: int
    topic: str
    reason: str
    detail: str
    payload: bytes


class RejectedError(Exception):
    """A message is rejected. The arguments: the reason's code, and a sentence."""
