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

DRAIN_SECONDS = 0.25
FLOOD_BYTES = 1 << 20

Received = tuple[Message, Address | None]
"""A message with its parsed topic; None for a topic outside the contract."""

Item = Received | Connected | Disconnected


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

    def receive(
        self, batch: Batch, transport: Transport, limit: int, wait: float, *, gather: bool
    ) -> tuple[list[Item], int]:
        """Return what is to be handled of up to `limit` events, in order, and the number of events.

        It waits at most `wait` seconds for the first. `gather`: and for more after a large batch. What is dropped, as
        above a rate limit, is read on for DRAIN_SECONDS, so that it does not wait in the broker before other messages.
        """
        self._ingress.retained.step(transport)
        self._ingress.facts.step(transport)
        self._ingress.live.step()
        self._ingress.files.step(transport)
        drain_until = self._clock.monotonic() + wait + DRAIN_SECONDS
        items: list[Item] = []
        count = 0
        while True:
            events = transport.receive(limit - count, wait)
            items += self._admit(batch, events)
            count += len(events)
            if not events or count >= limit or _size(items) >= GATHERED_MAX_BYTES:
                return items, count
            now = self._clock.monotonic()
            wait = self._gather_until - now if gather else 0.0
            if wait <= 0 and (now >= drain_until or not _is_flood(events)):
                return items, count
            wait = max(0.0, wait)

    def _admit(self, batch: Batch, events: Sequence[Event]) -> Iterator[Item]:
        """Yield the messages to handle in this batch, and changes of the connection, in order."""
        at, now, received, elsewhere = self._clock.monotonic(), self._clock.now(), 0, 0
        for event in events:
            if not isinstance(event, Message):
                yield event
                continue
            received += 1
            address = topics.parse(event.topic)
            ordinary = event.payload and not event.retain  # of nearly all messages; the others may be retained ones
            if not (self._assignment.handles(address) if ordinary else self._is_for_this_ingestor(event, address)):
                elsewhere += 1
                if address is not None and not event.retain:
                    self._ingress.leave(address, now)
            elif not ordinary and self._ingress.retained.handle(batch, event, address):
                self._counters["unretained"] += 1
            elif self._ingress.admit(batch, event, address, at):
                yield event, address
        self._counters["received"] += received
        self._counters["elsewhere"] += elsewhere

    def _is_for_this_ingestor(self, message: Message, address: Address | None) -> bool:
        """Return whether to look at a message. What is retained by mistake is for the one that clears it."""
        if message.retain and address is not None and not address.topic.retain:
            return self._assignment.owns(address.org)
        return self._assignment.handles(address)

    def committed(self, messages: int) -> None:
        """Record the commit of a batch with this number of messages."""
        now = self._clock.monotonic()
        self._gather_until = now + GATHER_SECONDS if messages >= GATHER_FROM else now


def _size(items: Sequence[Item]) -> int:
    """Return the bytes of payload that wait to be handled."""
    return sum(len(item[0].payload) for item in items if isinstance(item, tuple))


def _is_flood(events: Sequence[Event]) -> bool:
    """Return whether these events have FLOOD_BYTES or more, so that more may wait in the socket."""
    return sum(len(event.payload) for event in events if isinstance(event, Message)) >= FLOOD_BYTES
