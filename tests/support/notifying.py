"""A notifier on a broker in memory, with a real database and real services."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import wait_until

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from notifier.dispatch import Dispatch
from notifier.inbox import Inbox
from notifier.notifier import Notifier
from notifier.sending.workers import Workers
from runtime.clock import Clock, SystemClock
from runtime.urls import sqlite_url
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage, IncidentMessage, ResolvedMessage
from schemas.contract.messages import Payload
from schemas.contract.topics import Topic
from schemas.people.destinations import Destination, add_destination
from schemas.people.people_store import open_people_store
from schemas.people.routing import Preferences
from schemas.people.secret_box import SecretBox


class AlertSource:
    """Publishes alerts as the ingestor does: retained, the end beside the cleared alert."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._transport = MemoryTransport(broker, client_id="_ingestor")
        self._transport.receive(1, 0)

    def publish(self, topic: Topic, payload: Payload | None, **levels: str) -> None:
        body = b"" if payload is None else payload.encode()
        assert self._transport.publish(Message(topic.at(org="home", **levels), body, topic.qos, topic.retain))

    def begin(self, id_: int, machine: str = "attic", rule: str = "cpu", **more: Any) -> None:  # noqa: ANN401 - fields
        self.publish(topics.ALERT, AlertMessage(**_fields(id_, rule, more)), machine=machine, rule=rule)

    def end(self, id_: int, machine: str = "attic", rule: str = "cpu", **more: Any) -> None:  # noqa: ANN401 - fields
        fields = {"until": SystemClock().now(), **_fields(id_, rule, more)}
        self.publish(topics.ALERT, None, machine=machine, rule=rule)
        self.publish(topics.RESOLVED, ResolvedMessage(**fields), machine=machine, rule=rule)

    def incident(self, id_: int, **more: Any) -> None:  # noqa: ANN401 - fields
        fields = {"id": id_, "kind": "mass-silence", "since": SystemClock().now(), **more}
        self.publish(topics.INCIDENT, IncidentMessage(**fields), incident=str(id_))


@dataclass
class NotifyingWorld:
    """A state directory with destinations, a broker, and notifiers that can be started again."""

    data: Path
    broker: MemoryBroker
    alerts: AlertSource
    clock: Clock

    def __post_init__(self) -> None:
        self.people = open_people_store(sqlite_url(self.data / "people.db"))
        self.box = SecretBox.load(self.data / "key")

    def add(self, name: str, url: str, **preferences: Any) -> Destination:  # noqa: ANN401 - preferences
        chosen = Preferences.model_validate({"group_seconds": 0.05, **preferences})
        return add_destination(
            self.people, self.box, "home", name, url, by="ada", now=0, allow_private=True, preferences=chosen
        )

    def notifier(self) -> Notifier:
        transport = MemoryTransport(self.broker, client_id="_notifier", subscriptions=Inbox.subscriptions())
        dispatch = Dispatch(self.people, self.box, self.clock, data=self.data, allow_private=False)
        workers = Workers(self.people, dispatch, self.clock)
        return Notifier(self.people, transport, workers, self.clock, ingestor_runs=lambda: True)


@contextmanager
def notifying_world(data: Path) -> Iterator[NotifyingWorld]:
    broker = MemoryBroker()
    world = NotifyingWorld(data, broker, AlertSource(broker), SystemClock())
    yield world
    world.people.dispose()


def run_until(notifier: Notifier, condition: Any, seconds: float = 10) -> None:  # noqa: ANN401 - a callable
    """Step a notifier until a condition holds."""

    def holds() -> bool:
        notifier.step(0.01)
        return bool(condition())

    wait_until(holds, seconds=seconds)


def run_for(notifier: Notifier, steps: int) -> None:
    for _ in range(steps):
        notifier.step(0.01)


def _fields(id_: int, rule: str, more: dict[str, Any]) -> dict[str, Any]:
    since = more.pop("since", SystemClock().now())
    return {"id": id_, "rule": rule, "title": "High CPU usage", "severity": "critical", "since": since, **more}
