"""The messages that the ingestor publishes, encoded from domain objects."""

from collections.abc import Mapping
from typing import Any

from broker.client.transport import Message
from ingestor.domain.alert import Alert
from ingestor.domain.command import Command
from ingestor.domain.command_changes import AddressedUpdate
from ingestor.domain.incidents import Incident, affected, common_label
from ingestor.domain.machine import Description, Machine
from ingestor.domain.visible_state import VisibleState
from schemas.contract import topics
from schemas.contract.alerts import INCIDENT_NAMES_MAX, AlertMessage, IncidentMessage, ResolvedMessage
from schemas.contract.commands import CommandMessage, Desired
from schemas.contract.presence import AlertCounts, PresenceMessage
from schemas.contract.topics import Topic
from schemas.fleet.machine_name import machine_name

_ALERT_FIELDS = (
    "rule",
    "title",
    "severity",
    "detail",
    "id",
    "value",
    "unit",
    "acknowledged",
    "silenced_until",
    "silence_reason",
)


def message(topic: Topic, payload: bytes, **levels: str) -> Message:
    """Return a message with the QoS and retain flag of its topic."""
    return Message(topic.at(**levels), payload, topic.qos, topic.retain)


def cleared(topic: Topic, **levels: str) -> Message:
    """Return the message that clears what is retained on a topic, rightly or not."""
    return Message(topic.at(**levels), b"", topic.qos, retain=True)


def command_message(command: Command) -> Message:
    """Return the signed order of a command with the number of this attempt."""
    payload = CommandMessage(order=command.order, attempt=command.attempts).encode()
    return message(topics.COMMAND, payload, org=command.org, machine=command.machine)


def config_message(org: str, machine: str, desired: Desired) -> Message:
    """Return the desired configuration of a machine."""
    return message(topics.CONFIG, desired.encode(), org=org, machine=machine)


def update_message(addressed: AddressedUpdate) -> Message:
    """Return the update for the principal that made the request."""
    org, principal, update = addressed
    level = principal if principal.startswith("_") else principal.removeprefix(f"{org}._")
    return message(topics.UPDATE, update.encode(), org=org, principal=level)


def presence_message(machine: Machine, visible: VisibleState) -> Message:
    """Return the derived presence of a machine."""
    content = PresenceMessage(
        presence=visible.presence.value,
        reason=visible.reason,
        since=visible.since,
        verified=visible.verified,
        last_seen=machine.state.last_seen_at,
        health=visible.health.value,
        alerts=AlertCounts(warning=visible.warnings, critical=visible.criticals),
        display_name=machine_name(machine.name, visible.hostname),
        hostname=visible.hostname or None,
        agent_version=visible.agent_version or None,
    )
    return message(topics.PRESENCE, content.encode(), org=machine.org, machine=machine.name)


def alert_message(alert: Alert, described: Description) -> Message:
    """Return an active alert of a machine that is so described."""
    return _alert(topics.ALERT, alert, AlertMessage(**_alert_fields(alert, described)).encode())


def resolved_message(alert: Alert, described: Description) -> Message:
    """Return an alert that has ended."""
    resolved = ResolvedMessage(
        **_alert_fields(alert, described),
        until=alert.ended_at or alert.started_at,
        past=alert.past,
        withdrawn=alert.withdrawn,
    )
    return _alert(topics.RESOLVED, alert, resolved.encode())


def cleared_alert(alert: Alert) -> Message:
    """Return the message that clears an active alert."""
    return _alert(topics.ALERT, alert, b"")


def cleared_resolved(alert: Alert) -> Message:
    """Return the message that clears an alert that has ended."""
    return _alert(topics.RESOLVED, alert, b"")


def incident_message(incident: Incident, labels: Mapping[str, Mapping[str, str]]) -> Message:
    """Return an incident of an organisation. `labels`: of its machines, by name."""
    names = affected(incident)
    content = IncidentMessage(
        id=incident.id or 0,
        kind=incident.kind.value,
        since=incident.started_at,
        until=incident.ended_at,
        machines=tuple(names[:INCIDENT_NAMES_MAX]),
        machine_count=incident.details.get("machines", len(names)),
        label=common_label(names, labels),
        target=incident.details.get("target", ""),
    )
    return message(topics.INCIDENT, content.encode(), org=incident.org, incident=str(incident.id))


def cleared_incident(incident: Incident) -> Message:
    """Return the message that clears an incident."""
    return message(topics.INCIDENT, b"", org=incident.org, incident=str(incident.id))


def _alert_fields(alert: Alert, described: Description) -> dict[str, Any]:
    own = {name: getattr(alert, name) for name in _ALERT_FIELDS}
    return {**own, "since": alert.started_at, "hostname": described.hostname or None, "labels": described.labels}


def _alert(topic: Topic, alert: Alert, payload: bytes) -> Message:
    return message(topic, payload, org=alert.org, machine=alert.name, rule=alert.rule)
