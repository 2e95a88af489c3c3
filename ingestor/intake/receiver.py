"""The receiver: from the transport's events to messages that are to be handled, each with its parsed topic.

Many small messages are gathered into one batch, since a transaction has a fixed cost.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from broker.client.transport import Connected, Disconnected, Event, Message, Transport
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.batch import Batch
from ingestor.intake.ingress import Ingress
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.topics import Address

GATHER_SECONDS = 0.05
"""Time after the commit of a batch of GATHER_FROM messages or more in which messages are gathered for the next one:
a transaction costs nearly the same whatever its size."""

GATHER_FROM = 5
GATHERED_MAX_BYTES = 4 << 20
"""Payloads in one batch from which on no more messages are gathered, so that large messages take no memory."""

Received = tuple[Message, Address | None]
"""A message with its parsed topic; None for a topic outside the contract."""


class OpenTransport(Protocol):
    """Creates the ingestor's transport."""

    def __call__(self, *, subscriptions: Sequence[tuple[str, int]]) -> Transport:
        """Return a transport that is not connected yet."""
        ...


class Receiver:
    """Receives the events of one batch. `counters`: those of the ingestor."""

    def __init__(self, assignment: WorkAssignment, ingress: Ingress, clock: Clock, counters: Counter[str]) -> None:
        self._assignment = assignment
        self._ingress = ingress
        self._clock = clock
        self._counters = counters
        self._gather_until = clock.monotonic()

    def receive(self, transport: Transport, limit: int, wait: float, *, gather: bool) -> list[Event]:
        """Return up to `limit` events after at most `wait` seconds; `gather`: and wait for more after a large batch."""
        self._ingress.retained.step(transport)
        events = list(transport.receive(limit, wait))
        more: Sequence[Event] = events
        while gather and more and len(events) < limit and _size(events) < GATHERED_MAX_BYTES:
            left = self._gather_until - self._clock.monotonic()
            more = transport.receive(limit - len(events), left) if left > 0 else ()
            events.extend(more)
        return events

    def admit(self, batch: Batch, events: Sequence[Event]) -> Iterator[Received | Connected | Disconnected]:
        """Yield the messages to handle in this batch, and changes of the connection, in order."""
        for event in events:
            if not isinstance(event, Message):
                yield event
                continue
            self._counters["received"] += 1
            address = topics.parse(event.topic)
            if address is not None and address.topic is topics.PROBE:
                self._assignment.probe.handle(event)
            elif not self._assignment.handles(address):
                self._counters["elsewhere"] += 1
            elif self._ingress.retained.handle(batch, event, address):
                self._counters["unretained"] += 1
            elif self._ingress.admit(batch, event, address):
                yield event, address

    def committed(self, messages: int) -> None:
        """Record the commit of a batch with this number of messages."""
        now = self._clock.monotonic()
        self._gather_until = now + GATHER_SECONDS if messages >= GATHER_FROM else now


def _size(events: Sequence[Event]) -> int:
    return sum(len(event.payload) for event in events if isinstance(event, Message))
