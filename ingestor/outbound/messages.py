"""The messages that the ingestor publishes, encoded from domain objects."""

from broker.client.transport import Message
from ingestor.domain.alert import Alert
from ingestor.domain.command import Command
from ingestor.domain.command_changes import AddressedUpdate
from schemas.contract import topics
from schemas.contract.commands import CommandMessage, Desired
from schemas.contract.messages import AlertMessage
from schemas.contract.topics import Topic


def message(topic: Topic, payload: bytes, **levels: str) -> Message:
    """Return a message with the QoS and retain flag of its topic."""
    return Message(topic.at(**levels), payload, topic.qos, topic.retain)


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


def alert_message(alert: Alert) -> Message:
    """Return the retained state of an alert; an empty payload clears one that has ended."""
    fields = {name: getattr(alert, name) for name in ("rule", "title", "severity", "detail")}
    payload = b"" if alert.ended_at is not None else AlertMessage(**fields, since=alert.started_at).encode()
    return message(topics.ALERT, payload, org=alert.org, machine=alert.name, rule=alert.rule)
