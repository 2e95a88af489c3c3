"""The machines of an organisation, as the retained messages and the samples of the contract show them.

Invariants:
- A machine exists while its presence is retained; `_presence` is cleared when it is removed or has another name.
- After a new connection the broker shows what is still there. What it has not shown SETTLE_SECONDS later is over,
  provided that it shows `_config`: a broker that has lost its retained messages shows nothing until an ingestor
  publishes them again.
- At most MACHINES_MAX machines. A message that cannot be read is counted and ignored.
"""

import logging
from collections.abc import Callable, Collection
from typing import Final

from pydantic import ValidationError

from bridges.homeassistant.machine import BridgedMachine
from broker.client.transport import Message
from runtime.clock import Clock
from runtime.rate_limited_log import RateLimitedLog
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage
from schemas.contract.messages import Info, Telemetry
from schemas.contract.presence import PresenceMessage
from schemas.contract.topics import Address, Topic

SETTLE_SECONDS: Final = 60.0
MACHINES_MAX: Final = 10_000
FOLLOWED: Final = (topics.INFO, topics.TELEMETRY, topics.PRESENCE, topics.ALERT, topics.ORG_CONFIG)


class BridgedFleet:
    """Reads messages. `kinds` are the kinds of devices whose series become sensors.

    Machines are added to `described` when entities may have changed, to `changed` when presence or alerts have, to
    `sampled` when readings have, and to `removed` when they are gone; who reads these sets empties them.
    """

    def __init__(self, org: str, clock: Clock, kinds: Collection[str]) -> None:
        self.machines: dict[str, BridgedMachine] = {}
        self.described: set[str] = set()
        self.changed: set[str] = set()
        self.sampled: set[str] = set()
        self.removed: set[str] = set()
        self.settled = False
        """Whether the broker has shown everything since this connection."""
        self.unreadable = 0
        self._org = org
        self._clock = clock
        self._kinds = kinds
        self._connected_at: float | None = None
        self._config_shown = False
        self._shown: set[tuple[str, str]] = set()
        self._log = RateLimitedLog(logging.getLogger(__name__))

    def subscriptions(self) -> list[tuple[str, int]]:
        """Return the transport's subscriptions."""
        return [(topic.filter(org=self._org), topic.qos) for topic in FOLLOWED]

    def connected(self) -> None:
        """Record a connection: the broker shows what is retained."""
        self._connected_at, self._config_shown, self.settled = self._clock.monotonic(), False, False
        self._shown.clear()

    def disconnected(self) -> None:
        """Record the end of a connection."""
        self._connected_at = None

    def read(self, message: Message) -> None:
        """Record what a message says."""
        address = topics.parse(message.topic)
        if address is None or address.topic not in FOLLOWED or address.org != self._org:
            return
        if address.topic is topics.ORG_CONFIG:
            self._config_shown = True
        elif not message.payload:
            self._cleared(address)
        elif (machine := self._machine(address.machine)) is not None:
            try:
                _READERS[address.topic](self, machine, address, message.payload)
            except ValidationError:
                self.unreadable += 1
                self._log.warning(message.topic, "a message on %s cannot be read", message.topic)

    def settle(self) -> bool:
        """Remove what a new connection has not shown; return True once for each connection."""
        since = self._connected_at
        if self.settled or since is None or not self._config_shown:
            return False
        if self._clock.monotonic() - since < SETTLE_SECONDS:
            return False
        self.settled = True
        for name, machine in list(self.machines.items()):
            if machine.presence is not None and (name, "") not in self._shown:
                self._remove(name)
                continue
            for rule in [rule for rule in machine.alerts if (name, rule) not in self._shown]:
                self._end_alert(machine, rule)
        return True

    def _machine(self, name: str) -> BridgedMachine | None:
        if name not in self.machines and len(self.machines) >= MACHINES_MAX:
            self._log.warning("machines", "there are more than %d machines: the others are not shown", MACHINES_MAX)
            return None
        return self.machines.setdefault(name, BridgedMachine(name))

    def _cleared(self, address: Address) -> None:
        if address.topic is topics.PRESENCE:
            self._remove(address.machine)
        elif address.topic is topics.ALERT and address.machine in self.machines:
            self._end_alert(self.machines[address.machine], address.rule)

    def _remove(self, name: str) -> None:
        self.machines.pop(name, None)
        self.removed.add(name)
        for names in (self.described, self.changed, self.sampled):
            names.discard(name)

    def _end_alert(self, machine: BridgedMachine, rule: str) -> None:
        if machine.alerts.pop(rule, None) is not None:
            self.changed.add(machine.name)

    def _read_info(self, machine: BridgedMachine, _address: Address, payload: bytes) -> None:
        machine.info = Info.decode(payload)
        self.described.add(machine.name)

    def _read_telemetry(self, machine: BridgedMachine, _address: Address, payload: bytes) -> None:
        if machine.read_sample(Telemetry.decode(payload), self._kinds):
            self.described.add(machine.name)
        self.sampled.add(machine.name)

    def _read_presence(self, machine: BridgedMachine, _address: Address, payload: bytes) -> None:
        earlier, machine.presence = machine.presence, PresenceMessage.decode(payload)
        self._shown.add((machine.name, ""))
        self.removed.discard(machine.name)
        self.changed.add(machine.name)
        if earlier is None or earlier.display_name != machine.presence.display_name:
            self.described.add(machine.name)

    def _read_alert(self, machine: BridgedMachine, address: Address, payload: bytes) -> None:
        known = address.rule in machine.rules
        machine.read_alert(address.rule, AlertMessage.decode(payload))
        self._shown.add((machine.name, address.rule))
        self.changed.add(machine.name)
        if not known:
            self.described.add(machine.name)


_READERS: Final[dict[Topic, Callable[[BridgedFleet, BridgedMachine, Address, bytes], None]]] = {
    topics.INFO: BridgedFleet._read_info,  # noqa: SLF001 - of this class
    topics.TELEMETRY: BridgedFleet._read_telemetry,  # noqa: SLF001 - of this class
    topics.PRESENCE: BridgedFleet._read_presence,  # noqa: SLF001 - of this class
    topics.ALERT: BridgedFleet._read_alert,  # noqa: SLF001 - of this class
}
