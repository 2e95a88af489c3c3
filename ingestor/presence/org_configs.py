"""The organisations' configurations: read from the database now and then, and published where they are this one's."""

from collections.abc import Callable, Mapping

from broker.client.transport import Message, Transport
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.messages import OrgConfig

SPREAD_SECONDS_PER_MACHINE = 0.09
SPREAD_MAX_SECONDS = 45.0
"""Reconnecting agents are spread so that about eleven a second come back, and all within a minute."""


class OrgConfigs:
    """By organisation; the defaults for one that is not known. `owns`: whether to publish an organisation's."""

    def __init__(self, store: Store, *, owns: Callable[[str], bool]) -> None:
        self._store = store
        self._owns = owns
        self._configs: dict[str, OrgConfig] = {}
        self._announced: set[str] = set()

    @property
    def known(self) -> Mapping[str, OrgConfig]:
        """Every organisation's."""
        return self._configs

    def of(self, org: str) -> OrgConfig:
        """One organisation's."""
        return self._configs.get(org, _DEFAULT)

    def load(self) -> None:
        """Read them."""
        self._configs = {
            name: config.model_copy(update={"reconnect_spread_seconds": _spread(config, machines)})
            for name, (config, machines) in self._store.configs().items()
        }

    def publish(self, transport: Transport, *, everything: bool = False) -> None:
        """Read them again, and publish what has changed, or all."""
        before = self._configs
        self.load()
        topic = topics.ORG_CONFIG
        mine = {org: config for org, config in self._configs.items() if self._owns(org)}
        for org, config in mine.items():
            if everything or before.get(org) != config:
                transport.publish(Message(topic.at(org=org), config.encode(), topic.qos, topic.retain))
        for org in self._announced - self._configs.keys():  # it was removed
            transport.publish(Message(topic.at(org=org), b"", topic.qos, topic.retain))
        self._announced = set(mine)


def _spread(config: OrgConfig, machines: int) -> float:
    return max(config.reconnect_spread_seconds, min(SPREAD_MAX_SECONDS, machines * SPREAD_SECONDS_PER_MACHINE))


_DEFAULT = OrgConfig()
