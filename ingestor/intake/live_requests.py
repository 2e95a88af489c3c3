"""Requests for live readings: each is answered, and the machine gets a lease for a few seconds.

Invariants:
- A request that cannot be read is answered, too, and becomes a dead letter.
- Nothing is stored, and nothing is published while nobody asks.
- However many ask for a machine, it gets one lease, and a message at most every REQUEST_SECONDS.
- At most MACHINES_MAX machines of an organisation have a lease at a time.
- A lease that has ended is cleared at the broker, also one that an earlier ingestor has left there.
"""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from broker.client.transport import Message
from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.domain.batch import Batch
from ingestor.domain.presence import Presence
from ingestor.intake.machine_cache import Key, MachineCache
from ingestor.outbound.messages import cleared, message
from ingestor.outbound.queue import OutboundQueue
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.live import LEASE_SECONDS, REQUEST_SECONDS, LiveAnswer, LiveLease, LiveRequest
from schemas.contract.topics import Address

MACHINES_MAX = 20
"""Machines of an organisation that are watched at a time."""


@dataclass(slots=True)
class _Lease:
    ends_at: float
    published_at: float


class LiveRequests:
    """The leases of the organisations of this ingestor, in memory."""

    def __init__(
        self,
        cache: MachineCache,
        assignment: WorkAssignment,
        outbound: OutboundQueue,
        clock: Clock,
        *,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._cache = cache
        self._assignment = assignment
        self._outbound = outbound
        self._clock = clock
        self._new_id = new_id
        self._leases: dict[Key, _Lease] = {}
        self._number: Counter[str] = Counter()
        """Leases by organisation."""

    def handle(self, _batch: Batch, address: Address, received: Message, _now: int) -> None:
        """Grant or refuse a lease. Raises ValidationError, and DBAPIError when the database is unavailable."""
        try:
            wanted = LiveRequest.decode(received.payload).machine
        except ValidationError:
            self._answer(address, LiveAnswer(refused="invalid"))
            raise
        key = (address.org, wanted)
        machine = self._cache.find(*key)
        if machine is None or machine.state.presence is Presence.RETIRED:
            self._answer(address, LiveAnswer(machine=wanted, refused="unknown-machine"))
        elif key not in self._leases and self._number[address.org] >= MACHINES_MAX:
            self._answer(address, LiveAnswer(machine=wanted, refused="too-many"))
        else:
            self._grant(key)
            self._answer(address, LiveAnswer(machine=wanted, seconds=LEASE_SECONDS))

    def handle_retained(self, _batch: Batch, address: Address, received: Message, _now: int) -> None:
        """Clear a lease that is retained and not known here."""
        if received.payload and (address.org, address.machine) not in self._leases:
            self._clear((address.org, address.machine))

    def step(self) -> None:
        """Clear the leases that have ended."""
        now = self._clock.monotonic()
        for key in [key for key, lease in self._leases.items() if now >= lease.ends_at]:
            del self._leases[key]
            self._number[key[0]] -= 1
            if self._assignment.owns(key[0]):
                self._clear(key)

    def _grant(self, key: Key) -> None:
        now = self._clock.monotonic()
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = _Lease(now, -REQUEST_SECONDS)
            self._number[key[0]] += 1
        elif now - lease.published_at < REQUEST_SECONDS - 0.5:
            return
        lease.ends_at, lease.published_at = now + LEASE_SECONDS, now
        watch = LiveLease(id=self._new_id(), seconds=LEASE_SECONDS)
        self._outbound.retain([message(topics.WATCH, watch.encode(), org=key[0], machine=key[1])])

    def _clear(self, key: Key) -> None:
        self._outbound.retain([cleared(topics.WATCH, org=key[0], machine=key[1])])

    def _answer(self, address: Address, answer: LiveAnswer) -> None:
        levels = {"org": address.org, "principal": address.principal}
        self._outbound.answer(message(topics.LIVE_ANSWER, answer.encode(), **levels))
