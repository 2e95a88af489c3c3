"""The configurations of the organisations: read from the database periodically, and published for owned ones."""

from ingestor.cluster.work_assignment import WorkAssignment
from ingestor.outbound.messages import message
from ingestor.outbound.queue import OutboundQueue
from ingestor.storage.store import Store
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.messages import Signed
from schemas.contract.org_config import OrgConfig
from schemas.contract.signing import KeyRing, keys_in_force

SPREAD_SECONDS_PER_MACHINE = 0.09
SPREAD_MAX_SECONDS = 45.0
"""Reconnecting agents are spread so that about eleven come back per second, and all within a minute."""

_DEFAULT = OrgConfig()


class OrgConfigs:
    """Configurations by organisation."""

    def __init__(self, store: Store, assignment: WorkAssignment, outbound: OutboundQueue, clock: Clock) -> None:
        self._store = store
        self._assignment = assignment
        self._outbound = outbound
        self._clock = clock
        self._configs: dict[str, OrgConfig] = {}
        self._published: set[str] = set()
        self._rings: dict[str, tuple[tuple[Signed, ...], KeyRing]] = {}

    def __contains__(self, org: str) -> bool:
        return org in self._configs

    def of(self, org: str) -> OrgConfig:
        """Return an organisation's configuration; the defaults if it does not exist."""
        return self._configs.get(org, _DEFAULT)

    def key_ring(self, org: str) -> KeyRing | None:
        """Return the keys whose orders an organisation's machines obey; None if it never had a key."""
        changes = self.of(org).key_changes
        if not changes:
            return None
        if org not in self._rings or self._rings[org][0] != changes:
            self._rings[org] = (changes, KeyRing(org, dict(keys_in_force(changes, org, self._clock.now()))))
        return self._rings[org][1]

    def load(self) -> None:
        """Read all configurations."""
        self._configs = {
            name: config.model_copy(update={"reconnect_spread_seconds": _spread(config, machines)})
            for name, (config, machines) in self._store.configs().items()
        }

    def publish(self, *, everything: bool = False) -> None:
        """Read all configurations again; publish the changed ones, or all.

        One that waits since the organisation was owned is withdrawn: it would replace that of the next owner.
        """
        before = self._configs
        self.load()
        mine = {org: config for org, config in self._configs.items() if self._assignment.owns(org)}
        payloads = {org: config.encode() for org, config in mine.items() if everything or before.get(org) != config}
        payloads |= dict.fromkeys(self._published - self._configs.keys(), b"")  # removed organisations
        self._outbound.retain(message(topics.ORG_CONFIG, payload, org=org) for org, payload in payloads.items())
        self._outbound.withdraw(topics.ORG_CONFIG.at(org=org) for org in self._configs.keys() - mine.keys())
        self._published = set(mine)


def _spread(config: OrgConfig, machines: int) -> float:
    return max(config.reconnect_spread_seconds, min(SPREAD_MAX_SECONDS, machines * SPREAD_SECONDS_PER_MACHINE))
