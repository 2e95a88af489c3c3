"""What this ingestor takes part in, and what it therefore subscribes to.

Two ways to divide the work, of which a look at the broker decides once (`ingestor.cluster.shared_subscription_probe`):
- Shared: samples, which are nearly all there is, go to any ingestor, one each (`$share`). All else (presence, acting,
  enrolment, configurations) belongs to the one that holds the timers.
- By organisation: all that is of an organisation belongs to the one that holds its lease.

Rolling up and pruning belong to who holds the timers, in both.
"""

from broker.client.transport import shared
from ingestor.cluster.leases import TIMERS, Leases
from schemas.contract import topics
from schemas.contract.topics import Address, Topic

GROUP = "ingestors"
SHARED = (topics.TELEMETRY, topics.BACKFILL)
ALONE = (topics.STATUS, topics.INFO, topics.RESULT, topics.REQUEST, topics.ENROL_REQUEST)

NAMED_ORGS_MAX = 100
"""With more organisations than this, one that has not all of them hears all the same, and drops what is another's."""

Subscriptions = tuple[tuple[str, int], ...]


class Duties:
    """Of one ingestor. `shares`: None until the broker was looked at, when nothing is subscribed to yet."""

    def __init__(self, leases: Leases, *, shares: bool | None) -> None:
        self.shares = shares
        self._leases = leases
        self._held: frozenset[str] = frozenset()
        self._all: frozenset[str] = frozenset()

    @property
    def decides(self) -> bool:
        """Whether presence, acting and incidents of what is in memory here are this one's."""
        return self.shares is False or self.leads

    @property
    def leads(self) -> bool:
        """Whether the timers are this one's."""
        return TIMERS in self._held

    def step(self, *, hearing: bool) -> bool:
        """Take and give back what there is to. Whether anything has changed. Raises FencedError."""
        before = self._held, self._all
        self._held, self._all = self._leases.step(by_org=self.shares is False, hearing=hearing)
        return before != (self._held, self._all)

    def owns(self, org: str) -> bool:
        """Whether this organisation's presence, commands and configuration are this one's."""
        return org in self._held or (self.leads and org not in self._all)

    def stores(self, org: str) -> bool:
        """Whether samples of this organisation may come here."""
        return self.shares is True or self.owns(org)

    def takes(self, address: Address | None) -> bool:
        """Whether a message from there is to be read here. What is on no topic of ours is, so that it is set aside."""
        return address is None or (self.stores if address.topic in SHARED else self.owns)(address.org)

    def subscriptions(self) -> Subscriptions:
        """What to hear."""
        if self.shares is None:
            return ()
        if self.shares:
            samples = tuple((shared(topic.filter(), GROUP), topic.qos) for topic in SHARED)
            return samples + (_everywhere(ALONE) if self.leads else ())
        orgs = self._held - {TIMERS}
        if self._all - self._held - {TIMERS} and len(orgs) <= NAMED_ORGS_MAX:
            return tuple((topic.filter(org=org), topic.qos) for org in sorted(orgs) for topic in (*ALONE, *SHARED))
        return _everywhere((*ALONE, *SHARED)) if self._held else ()


def _everywhere(some: tuple[Topic, ...]) -> Subscriptions:
    return tuple((topic.filter(), topic.qos) for topic in some)
