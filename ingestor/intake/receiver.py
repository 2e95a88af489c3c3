"""Receiving: many small messages are gathered into one batch, since a transaction has a fixed cost."""

from collections.abc import Sequence

from broker.client.transport import Event, Transport
from runtime.clock import Clock

GATHER_SECONDS = 0.05
"""Time after the commit of a batch of GATHER_FROM messages or more in which messages are gathered for the next one:
a transaction costs nearly the same whatever its size."""

GATHER_FROM = 5


class Receiver:
    """Receives the events of one batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gather_until = clock.monotonic()

    def receive(self, transport: Transport, limit: int, wait: float, *, gather: bool) -> list[Event]:
        """Return up to `limit` events after at most `wait` seconds; `gather`: and wait for more after a large batch."""
        events = list(transport.receive(limit, wait))
        more: Sequence[Event] = events
        while gather and more and len(events) < limit:
            left = self._gather_until - self._clock.monotonic()
            more = transport.receive(limit - len(events), left) if left > 0 else ()
            events.extend(more)
        return events

    def committed(self, messages: int) -> None:
        """Record the commit of a batch with this number of messages."""
        now = self._clock.monotonic()
        self._gather_until = now + GATHER_SECONDS if messages >= GATHER_FROM else now
