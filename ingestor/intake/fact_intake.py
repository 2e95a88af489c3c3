"""The intake of facts: which received lists replace the stored ones.

Invariants:
- A list says nothing about presence: it may have waited here or at the broker.
- A list is stored if it is newer than the stored one (`ingestor.domain.facts`). A repetition costs a look-up.
- A machine has at most FACT_KINDS_MAX kinds. A list above is rejected, and the broker forgets it.
- Heads of lists are read from the database when a machine's first list arrives, and again after each change of the
  assignment: only the ingestor to which the machine belongs writes them.
"""

from collections.abc import Collection

from broker.client.transport import Message, Transport
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.batch import Batch
from ingestor.domain.dead_letter import RejectedError
from ingestor.domain.facts import FactHead, ReceivedFacts, digest, is_newer
from ingestor.domain.machine import Machine, within_tolerance
from ingestor.domain.presence import Presence
from ingestor.intake.fact_queue import FactQueue
from ingestor.outbound.messages import cleared
from ingestor.outbound.queue import OutboundQueue
from ingestor.storage.fact_store import read_heads
from ingestor.storage.store import Store
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.facts import FACT_KINDS_MAX, FACTS_MAX_BYTES, FactsMessage


class FactIntake:
    """Adds received lists to a batch. `queue`: the lists that wait."""

    def __init__(self, store: Store, assignment: WorkAssignment, outbound: OutboundQueue, clock: Clock) -> None:
        self.queue = FactQueue(clock)
        self._store = store
        self._assignment = assignment
        self._outbound = outbound
        self._heads: dict[int, dict[str, FactHead]] = {}

    def step(self, transport: Transport) -> None:
        """Request the lists again that were dropped because too many waited."""
        if transport.connected and self.queue.must_reread():
            transport.reread(self._assignment.facts())

    def handle(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        """Add a list to the batch if it is newer. Raises RejectedError, ValidationError or DBAPIError."""
        address = topics.parse(message.topic)
        heads, kind = self._of(machine), address.kind if address is not None else ""
        if not message.payload:
            if heads.pop(kind, None) is not None:
                batch.facts[machine.id, kind] = ReceivedFacts(machine, kind)
            return
        received_digest, before = digest(message.payload), heads.get(kind)
        if before is not None and before.digest == received_digest:
            return
        if before is None and len(heads) >= FACT_KINDS_MAX:
            self._clear(machine, [kind])
            raise RejectedError("too-many-kinds", f"the machine has {FACT_KINDS_MAX} kinds of facts already")
        if len(message.payload) > FACTS_MAX_BYTES:
            raise RejectedError("too-large", f"{len(message.payload)} bytes; a list has at most {FACTS_MAX_BYTES}")
        facts = FactsMessage.decode(message.payload)
        if machine.state.presence is Presence.RETIRED or not is_newer(facts, before):
            return
        at = min(now, facts.at + within_tolerance(machine.clock.milliseconds))
        at = max(at, before.known_at if before is not None else 0)
        received = ReceivedFacts(machine, kind, facts, received_digest, at, before)
        batch.facts[machine.id, kind] = received
        if received.head is not None:
            heads[kind] = received.head

    def retire(self, machine: Machine) -> None:
        """Forget a machine whose lists are deleted with the next batch, and let the broker forget them."""
        self._clear(machine, self._of(machine))
        self._heads.pop(machine.id, None)

    def clear(self) -> None:
        """Forget the heads, to read them from the database again."""
        self._heads.clear()

    def _of(self, machine: Machine) -> dict[str, FactHead]:
        if machine.id not in self._heads:
            self._heads[machine.id] = read_heads(self._store.engine, machine.id)
        return self._heads[machine.id]

    def _clear(self, machine: Machine, kinds: Collection[str]) -> None:
        levels = {"org": machine.org, "machine": machine.name}
        self._outbound.retain(cleared(topics.FACTS, **levels, kind=kind) for kind in kinds)
