"""The work of this ingestor among several, and the subscriptions that follow from it.

- By machine, on PostgreSQL: samples, nearly all of the load, belong to the holder of the machine's part, so that it
  knows what it wrote last of a machine. Everything else (presence, commands, enrolment, configurations) belongs to the
  leader, which holds the lease of the timers. Each ingestor receives the samples of all machines, and discards those of
  other parts before it decodes them.
- By organisation, on SQLite: everything of an organisation belongs to the holder of its lease.

Roll-up and pruning belong to the leader in both.

Invariant: by machine, it does not matter for what is stored who handles a sample, also while parts change hands: each
machine is locked and its ledger is read (`ingestor.storage.row_locks`).
"""

from functools import lru_cache
from zlib import crc32

from ingestor.cluster.leases import PARTS, TIMERS, Leases, part_lease
from schemas.contract import topics
from schemas.contract.topics import Address, Topic

SAMPLES = (topics.TELEMETRY, topics.BACKFILL)
EXCLUSIVE = (
    topics.STATUS,
    topics.INFO,
    topics.FACTS,
    topics.RESULT,
    topics.FETCH,
    topics.UPLOAD,
    topics.REQUEST,
    topics.ENROL_REQUEST,
    topics.LIVE_REQUEST,
)

NAMED_ORGS_MAX = 100
"""Up to this number, subscriptions name each organisation; above, messages of other ingestors' are discarded."""

Subscriptions = tuple[tuple[str, int], ...]


@lru_cache(maxsize=1 << 16)
def lease_of(org: str, machine: str) -> str:
    """Return the lease of a machine's part. It depends on nothing but the names, so that all ingestors agree."""
    return part_lease(crc32(f"{org}/{machine}".encode()) % PARTS)


class WorkAssignment:
    """The assignment of one ingestor. `by_machine`: samples are divided by machine, everything else is the leader's."""

    def __init__(self, leases: Leases, *, by_machine: bool) -> None:
        self.by_machine = by_machine
        self.leases = leases
        self._held: frozenset[str] = frozenset()
        self._all: frozenset[str] = frozenset()

    @property
    def decides(self) -> bool:
        """Whether this ingestor owns presence and commands of the machines in its memory."""
        return not self.by_machine or self.leads

    @property
    def leads(self) -> bool:
        """Whether this ingestor is the leader."""
        return TIMERS in self._held

    def update(self, *, hearing: bool) -> bool:
        """Acquire and release leases; return whether there is something to load or subscribe to. Raises FencedError.

        Not when only parts of the machines change hands: all machines are in memory, and read again where necessary.
        """
        leads, before = self.leads, (self._held, self._all)
        self._held, self._all = self.leases.step(by_org=not self.by_machine, hearing=hearing)
        return leads != self.leads if self.by_machine else before != (self._held, self._all)

    def owns(self, org: str) -> bool:
        """Return whether presence, commands and configuration of this organisation belong to this ingestor."""
        return self.leads if self.by_machine else org in self._held or (self.leads and org not in self._all)

    def stores(self, org: str) -> bool:
        """Return whether this ingestor may store samples of machines of this organisation."""
        return self.by_machine or self.owns(org)

    def handles(self, address: Address | None) -> bool:
        """Return whether this ingestor handles a message from this address; None is a topic outside the contract."""
        if address is None:
            return self.decides
        if not self.by_machine:
            return address.org in self._held or self.owns(address.org)
        if address.topic in SAMPLES:
            return lease_of(address.org, address.machine) in self._held
        return self.leads

    def subscriptions(self) -> Subscriptions:
        """Return the subscriptions for this assignment."""
        if self.by_machine:
            return _everywhere((*SAMPLES, *EXCLUSIVE) if self.leads else SAMPLES)
        return self._of_orgs((*EXCLUSIVE, *SAMPLES))

    def unretained(self) -> Subscriptions:
        """Return the filters on which nothing may be retained, for the one ingestor that clears what is.

        Leases belong to them: nothing but those that last may be retained.
        """
        return self._decided((*(topic for topic in (*EXCLUSIVE, *SAMPLES) if not topic.retain), topics.WATCH))

    def facts(self) -> Subscriptions:
        """Return the filters of the retained lists of facts that this ingestor handles."""
        return self._decided((topics.FACTS,))

    def _decided(self, some: tuple[Topic, ...]) -> Subscriptions:
        """Return the filters of these topics for what this ingestor decides."""
        if self.by_machine:
            return _everywhere(some) if self.leads else ()
        return self._of_orgs(some)

    def _of_orgs(self, some: tuple[Topic, ...]) -> Subscriptions:
        """Return the filters of these topics for the organisations of this ingestor."""
        orgs = self._held - {TIMERS}
        if self._all - self._held - {TIMERS} and len(orgs) <= NAMED_ORGS_MAX:
            return tuple((topic.filter(org=org), topic.qos) for org in sorted(orgs) for topic in some)
        return _everywhere(some) if self._held else ()


def _everywhere(some: tuple[Topic, ...]) -> Subscriptions:
    return tuple((topic.filter(), topic.qos) for topic in some)
