"""Rate limit of one connection: a token bucket of messages and of bytes.

A client that exceeds its rate is not read from until its budget is positive again, so the excess waits in its own
socket and then at the client, and costs nobody else anything.
"""

from dataclasses import dataclass

BURST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ClientRate:
    """Messages and bytes per second that one client may send, averaged over BURST_SECONDS."""

    messages: float
    bytes: float


class RateBudget:
    """Remaining budget of one client. `now` is a monotonic time in seconds."""

    def __init__(self, rate: ClientRate, now: float) -> None:
        self._rate = rate
        self._messages = rate.messages * BURST_SECONDS
        self._bytes = rate.bytes * BURST_SECONDS
        self._at = now

    def spend(self, size: int, now: float, *, messages: float = 1.0) -> float:
        """Charge a message of `size` bytes; return the seconds to wait until the next may be read, 0 for none."""
        rate, passed = self._rate, now - self._at
        self._at = now
        self._messages = min(self._messages + passed * rate.messages, rate.messages * BURST_SECONDS) - messages
        self._bytes = min(self._bytes + passed * rate.bytes, rate.bytes * BURST_SECONDS) - size
        return max(0.0, -self._messages / rate.messages, -self._bytes / rate.bytes)
