"""Removal of messages that a broker retains on topics which the contract does not retain, such as `up/telemetry`.

The embedded broker drops the retain flag there; other brokers cannot. Such a message, which may be a will, would be
delivered to every new subscriber as if it were live.

Invariants:
- It is never handled as a live message: it becomes a dead letter, and its machine is told.
- The broker forgets those of machines. Retained requests, which only ingestors receive, stay, as an ingestor may not
  publish requests; each becomes a dead letter once.
- A broker sets the flag only in answer to a subscription, so the retained messages are requested again regularly.
- The message that clears another one is not mistaken for an invalid one of the machine.
"""

from broker.client.transport import Message, Transport
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.batch import Batch
from ingestor.domain.dead_letter import DeadLetter
from ingestor.intake.machine_cache import MachineCache
from ingestor.outbound.messages import cleared
from ingestor.outbound.queue import OutboundQueue
from runtime.clock import Clock
from schemas.contract.ack import Rejection
from schemas.contract.topics import Address

SWEEP_SECONDS = 60.0

_DETAIL = "messages on this topic are not retained: publish without the retain flag"
_CLEARED_MAX = 10_000


class RetainedSweep:
    """Finds and clears retained messages on the topics of this ingestor's work."""

    def __init__(self, assignment: WorkAssignment, cache: MachineCache, outbound: OutboundQueue, clock: Clock) -> None:
        self._assignment = assignment
        self._cache = cache
        self._outbound = outbound
        self._clock = clock
        self._due_at = clock.monotonic() + SWEEP_SECONDS
        self._cleared: set[str] = set()

    def step(self, transport: Transport) -> None:
        """Request the retained messages from time to time."""
        if transport.connected and self._clock.monotonic() >= self._due_at:
            self._due_at = self._clock.monotonic() + SWEEP_SECONDS
            transport.reread(self._assignment.unretained())

    def handle(self, batch: Batch, message: Message, address: Address | None) -> bool:
        """Return True if a message is one of these, which is cleared, or the echo of clearing one."""
        if address is None or address.topic.retain:
            return False
        if not message.payload and (message.topic in self._cleared or self._assignment.by_machine):
            self._cleared.discard(message.topic)
            return True
        if not message.retain:
            return False
        if not address.machine and message.topic in self._cleared:
            return True
        if len(self._cleared) >= _CLEARED_MAX:
            self._cleared.clear()
        self._cleared.add(message.topic)
        if address.machine:
            self._outbound.retain([cleared(address.topic, org=address.org, machine=address.machine)])
        batch.dead_letters.append(DeadLetter(self._clock.now(), message.topic, "retained", _DETAIL, message.payload))
        machine = self._cache.get(address.org, address.machine)
        if machine is not None:
            batch.rejections.append((machine, Rejection(topic=message.topic, reason="retained", detail=_DETAIL)))
        return True
