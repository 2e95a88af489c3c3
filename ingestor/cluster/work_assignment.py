"""The work of this ingestor among several, and the subscriptions that follow from it.

A probe of the broker decides once how work is divided (`ingestor.cluster.shared_subscription_probe`):
- Shared: samples, nearly all of the load, go to any ingestor, one each (`$share`). Everything else (presence, commands,
  enrolment, configurations) belongs to the leader, which holds the lease of the timers.
- By organisation: everything of an organisation belongs to the holder of its lease.

Roll-up and pruning belong to the leader in both.
"""

from broker.client.transport import shared
from ingestor.cluster.leases import TIMERS, Leases
from ingestor.cluster.shared_subscription_probe import SharedSubscriptionProbe
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.topics import Address, Topic

GROUP = "ingestors"
SHARED = (topics.TELEMETRY, topics.BACKFILL)
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


class WorkAssignment:
    """The assignment of one ingestor. `shares`: whether samples are shared; None until the probe has answered."""

    def __init__(self, leases: Leases, clock: Clock, *, shares: bool | None) -> None:
        self.shares = shares
        self.leases = leases
        self.probe = SharedSubscriptionProbe(leases.name, clock)
        self._held: frozenset[str] = frozenset()
        self._all: frozenset[str] = frozenset()

    @property
    def decides(self) -> bool:
        """Whether this ingestor owns presence and commands of the machines in its memory."""
        return self.shares is False or self.leads

    @property
    def leads(self) -> bool:
        """Whether this ingestor is the leader."""
        return TIMERS in self._held

    def update(self, *, hearing: bool) -> bool:
        """Acquire and release leases; return whether the assignment changed. Raises FencedError."""
        before = self._held, self._all
        self._held, self._all = self.leases.step(by_org=self.shares is False, hearing=hearing)
        return before != (self._held, self._all)

    def owns(self, org: str) -> bool:
        """Return whether presence, commands and configuration of this organisation belong to this ingestor."""
        return org in self._held or (self.leads and org not in self._all)

    def stores(self, org: str) -> bool:
        """Return whether this ingestor may receive samples of this organisation."""
        return self.shares is True or self.owns(org)

    def handles(self, address: Address | None) -> bool:
        """Return whether this ingestor handles a message from this address; None is a topic outside the contract."""
        return address is None or (self.stores if address.topic in SHARED else self.owns)(address.org)

    def subscriptions(self) -> Subscriptions:
        """Return the subscriptions for this assignment."""
        if self.shares is None:
            return self.probe.subscriptions
        if self.shares:
            samples = tuple((shared(topic.filter(), GROUP), topic.qos) for topic in SHARED)
            return samples + (_everywhere(EXCLUSIVE) if self.leads else ())
        return self._of_orgs((*EXCLUSIVE, *SHARED))

    def unretained(self) -> Subscriptions:
        """Return the filters on which nothing may be retained, for the one ingestor that clears what is.

        Leases belong to them: nothing but those that last may be retained.
        """
        some = (*(topic for topic in (*EXCLUSIVE, *SHARED) if not topic.retain), topics.WATCH)
        if self.shares:
            return _everywhere(some) if self.leads else ()
        return self._of_orgs(some) if self.shares is False else ()

    def facts(self) -> Subscriptions:
        """Return the filters of the retained lists of facts that this ingestor handles."""
        if self.shares:
            return _everywhere((topics.FACTS,)) if self.leads else ()
        return self._of_orgs((topics.FACTS,)) if self.shares is False else ()

    def _of_orgs(self, some: tuple[Topic, ...]) -> Subscriptions:
        """Return the filters of these topics for the organisations of this ingestor."""
        orgs = self._held - {TIMERS}
        if self._all - self._held - {TIMERS} and len(orgs) <= NAMED_ORGS_MAX:
            return tuple((topic.filter(org=org), topic.qos) for org in sorted(orgs) for topic in some)
        return _everywhere(some) if self._held else ()


def _everywhere(some: tuple[Topic, ...]) -> Subscriptions:
    return tuple((topic.filter(), topic.qos) for topic in some)
