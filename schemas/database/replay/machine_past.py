"""A machine at one moment of a replay, and the messages of what happened to it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from schemas.contract import topics
from schemas.contract.alerts import AlertMessage, ResolvedMessage
from schemas.contract.messages import Info
from schemas.contract.presence import AlertCounts, PresenceMessage
from schemas.contract.topics import Topic
from schemas.database.replay.stored_samples import StoredSample
from schemas.fleet.machine_name import machine_name

_ALERT_FIELDS = ("rule", "title", "severity", "detail", "id", "value", "unit")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of the past. `at`: milliseconds of the server's clock. An empty payload: the alert is over."""

    at: int
    topic: Topic
    machine: str
    payload: bytes
    rule: str = ""


@dataclass(slots=True)
class MachinePast:
    """The machine of this row, with the presence, session and open alerts of the moment."""

    row: Row[Any]
    streams: dict[int, tuple[str, int]]
    session: int = 1
    presence: str = "unknown"
    reason: str = ""
    since: int = 0
    alerts: dict[int, str] = field(default_factory=dict)
    """Severity of each open alert, by its id."""

    def begin(self, at: int, info: Any) -> Iterator[StoredMessage]:  # noqa: ANN401 - JSON
        """Yield the last description of the machine, None if it has none, and its presence when the replay begins."""
        if info is not None:
            yield self._message(at, topics.REPLAYED_INFO, Info.model_validate(info, strict=False).encode())
        yield from self._presence(at)

    def changed(self, transition: Row[Any]) -> Iterator[StoredMessage]:
        """Yield the presence after a transition."""
        self.take(transition)
        yield from self._presence(transition.at)

    def take(self, transition: Row[Any]) -> None:
        """Become as this transition left the machine."""
        self.session = max(1, transition.session)
        self.presence, self.reason, self.since = transition.after, transition.reason, transition.at

    def sampled(self, sample: StoredSample) -> Iterator[StoredMessage]:
        """Yield a sample."""
        yield self._message(sample.at, topics.REPLAYED_TELEMETRY, sample.telemetry(self.session).encode())

    def alert_began(self, alert: Row[Any], at: int) -> Iterator[StoredMessage]:
        """Yield an alert that is active from `at`, and the presence with one more."""
        self.alerts[alert.id] = alert.severity
        payload = AlertMessage(**self._alert(alert)).encode()
        yield self._message(at, topics.REPLAYED_ALERT, payload, alert.rule)
        yield from self._presence(at)

    def alert_ended(self, alert: Row[Any]) -> Iterator[StoredMessage]:
        """Yield the end of an alert. One that lay in the past when it became known was never active."""
        resolved = ResolvedMessage(
            **self._alert(alert), until=alert.ended_at, past=alert.past, withdrawn=alert.withdrawn
        ).encode()
        was_active = self.alerts.pop(alert.id, None) is not None
        if was_active:
            yield self._message(alert.ended_at, topics.REPLAYED_ALERT, b"", alert.rule)
        yield self._message(alert.ended_at, topics.REPLAYED_RESOLVED, resolved, alert.rule)
        if was_active:
            yield from self._presence(alert.ended_at)

    def _presence(self, at: int) -> Iterator[StoredMessage]:
        if self.presence == "unknown":  # never heard, or not within what is stored
            return
        criticals = sum(severity == "critical" for severity in self.alerts.values())
        content = PresenceMessage.model_validate(
            {
                "presence": self.presence,
                "reason": self.reason,
                "since": self.since,
                "alerts": AlertCounts(warning=len(self.alerts) - criticals, critical=criticals),
                "display_name": machine_name(self.row.name, self.row.hostname),
                "hostname": self.row.hostname or None,
                "agent_version": self.row.agent_version or None,
            }
        )
        yield self._message(at, topics.REPLAYED_PRESENCE, content.encode())

    def _alert(self, alert: Row[Any]) -> dict[str, Any]:
        own = {name: getattr(alert, name) for name in _ALERT_FIELDS}
        return {
            **own,
            "since": alert.started_at,
            "hostname": self.row.hostname or None,
            "labels": self.row.labels or {},
        }

    def _message(self, at: int, topic: Topic, payload: bytes, rule: str = "") -> StoredMessage:
        return StoredMessage(at, topic, self.row.name, payload, rule)
