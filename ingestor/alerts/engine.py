"""Which alerts last: what the rules find, when it begins and ends, and how the broker is told.

Invariants:
- An alert begins and ends in a transaction, and is published only after its COMMIT.
- The broker's retained alerts are those of the database: all that last are published again on every connection, and
  what ended last is cleared again after a start, since a process may have died in between.
- While the ingestor is blind nobody is looked at. What a rule cannot tell begins nothing and ends nothing.
- Who is retired, or was never heard of, has no alerts.
- Of several ingestors each looks after the organisations that it owns.
- The whole fleet is looked at every LOOK_SECONDS, a part of it at each tick, so that no tick is long.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from broker.client.transport import Message, Transport
from ingestor.alerts.rule import Facts, Rule, Severity
from ingestor.domain.machine import Machine
from ingestor.domain.presence import Presence
from schemas.contract import messages, topics
from schemas.contract.messages import OrgConfig

LOOK_SECONDS = 5.0
ENDED_MAX = 1000
"""So many of those that ended last are cleared again after a start."""

Key = tuple[int, str]
"""A machine's row, and a rule's name."""


@dataclass(slots=True, eq=False)
class Alert:
    """One alert; `ended_at` is None while it lasts, `id` until it is stored. Times are the server's clock."""

    machine: int
    org: str
    name: str
    rule: str
    title: str
    severity: Severity
    started_at: int
    detail: str = ""
    ended_at: int | None = None
    id: int | None = None

    @property
    def key(self) -> Key:
        """What there is one alert of at a time."""
        return self.machine, self.rule

    def message(self) -> Message:
        """What the broker should retain of it."""
        topic = topics.ALERT.at(org=self.org, machine=self.name, rule=self.rule)
        return Message(topic, self._payload(), topics.ALERT.qos, topics.ALERT.retain)

    def _payload(self) -> bytes:
        if self.ended_at is not None:
            return b""
        return messages.AlertMessage(
            rule=self.rule, title=self.title, severity=self.severity, since=self.started_at, detail=self.detail
        ).encode()


class Alerts:
    """`owns`: whether an organisation is this ingestor's; `tick_seconds`: how often `look` is called; `monotonic`:
    seconds that never step.
    """

    def __init__(
        self,
        rules: Collection[Rule],
        *,
        owns: Callable[[str], bool] = lambda _: True,
        tick_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.rules = rules
        self._owns = owns
        self._rounds = max(1, round(LOOK_SECONDS / tick_seconds))
        self._round = 0
        self._monotonic = monotonic
        self._open: dict[Key, Alert] = {}
        self._turned: dict[Key, float] = {}
        """Since when a rule says the opposite of what was said."""
        self._changed: list[Alert] = []
        self._outgoing: dict[str, Message] = {}

    def load(self, lasting: Iterable[Alert], ended: Iterable[Alert]) -> None:
        """What the database knows: all that last, and some that ended. What it does not know any more is cleared."""
        before = [replace(alert, ended_at=alert.started_at) for alert in self._open.values()]
        self._open = {alert.key: alert for alert in lasting if self._owns(alert.org)}
        self._turned.clear()
        self._changed = []
        self._outgoing.clear()
        over = (alert for alert in (*before, *ended) if alert.key not in self._open)
        self._say(alert for alert in over if self._owns(alert.org))
        self._say(self._open.values())

    def look(
        self,
        fleet: Collection[Machine],
        config: Callable[[str], OrgConfig],
        together: Callable[[str], bool],
        now: int,
    ) -> None:
        """Look at a part of the fleet. `together`: whether many machines of an organisation went quiet at once."""
        self._round = (self._round + 1) % self._rounds
        for machine in islice(fleet, self._round, None, self._rounds):
            if not self._owns(machine.org):
                continue
            facts = Facts(machine, config(machine.org), together(machine.org))
            dismissed = machine.state.presence in (Presence.RETIRED, Presence.UNKNOWN)
            for rule in self.rules:
                self._judge(rule, machine, "" if dismissed else rule.look(facts), now)

    def changed(self) -> list[Alert]:
        """The alerts that began or ended since the last call, to be stored."""
        found, self._changed = self._changed, []
        return found

    def committed(self, alerts: Iterable[Alert]) -> None:
        """These are stored: the broker is to be told."""
        self._say(alerts)

    def connected(self) -> None:
        """The broker may have forgotten everything."""
        self._say(self._open.values())

    def publish(self, transport: Transport) -> None:
        """Publish what the connection takes now; without one it waits."""
        while self._outgoing:
            topic, message = next(iter(self._outgoing.items()))
            if not (transport.connected and transport.publish(message)):
                return
            del self._outgoing[topic]

    def _judge(self, rule: Rule, machine: Machine, found: str | None, now: int) -> None:
        key = (machine.id, rule.name)
        lasting = self._open.get(key)
        if found is None or bool(found) == (lasting is not None):
            self._turned.pop(key, None)
            return
        turned_at = self._turned.setdefault(key, self._monotonic())
        lasted = self._monotonic() - turned_at
        if lasted < (rule.after_seconds if lasting is None else rule.over_after_seconds):
            return
        del self._turned[key]
        if lasting is None:
            self._begin(rule, machine, found, now - round(lasted * 1000))
        else:
            lasting.ended_at = now
            self._changed.append(self._open.pop(key))

    def _begin(self, rule: Rule, machine: Machine, detail: str, since: int) -> None:
        alert = Alert(machine.id, machine.org, machine.name, rule.name, rule.title, rule.severity, since, detail[:256])
        self._open[alert.key] = alert
        self._changed.append(alert)

    def _say(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            message = alert.message()
            self._outgoing.pop(message.topic, None)
            self._outgoing[message.topic] = message
