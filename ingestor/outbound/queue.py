"""The outbound queue: every message that the ingestor publishes passes through it, after its COMMIT.

Invariants:
- Nothing enters before its COMMIT. A message that is lost here is sent again: an acknowledgement and an update when
  data or request are repeated, a command after its backoff.
- A command must not be late: without a connection, commands are discarded. Everything else waits for a connection.
- Of a retained message only the newest of each topic waits, except the ends of alerts, of which each is published.
"""

from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeVar

from broker.client.transport import Message, Transport
from ingestor.domain.batch import Batch
from ingestor.outbound.acks import Acks
from ingestor.outbound.messages import command_message, config_message, update_message
from runtime.clock import Clock
from schemas.contract import topics

EACH_STEP = 500
"""Commands and updates published in one step."""

UPDATES_MAX = 200_000
"""Updates that wait; above, the oldest are discarded."""

Key = TypeVar("Key")


@lru_cache(maxsize=1 << 16)
def _ack_topic(org: str, machine: str) -> str:
    return topics.ACK.at(org=org, machine=machine)


class OutboundQueue:
    """Publishes acknowledgements, commands, updates, answers, retained messages and alerts, in this order."""

    def __init__(self, *, ack_seconds: float, clock: Clock) -> None:
        self.acks = Acks(every_seconds=ack_seconds, clock=clock)
        self._commands: deque[Message] = deque()
        self._updates: deque[Message] = deque(maxlen=UPDATES_MAX)
        self._answers: deque[Message] = deque()
        self._retained: dict[str, Message] = {}
        self._alerts: dict[tuple[str, int | None], Message] = {}
        """By topic, and the id of an alert if its end shall not replace that of another one."""

    @property
    def busy(self) -> bool:
        """Whether commands or updates wait, so that the next step should begin at once."""
        return bool(self._commands or self._updates)

    def committed(self, batch: Batch) -> None:
        """Add everything that a committed batch has to publish."""
        for machine, stream, numbers, awaited in batch.acks:
            self.acks.add(machine, stream, numbers, awaited=awaited)
        for machine, rejection in batch.rejections:
            self.acks.add_rejection(machine, rejection, awaited=rejection.topic.endswith("/backfill"))
        if batch.changes:
            for machine, command in batch.changes.results:
                self.acks.add_result(machine, command)
            self._updates.extend(map(update_message, batch.changes.updates))
        self._commands.extend(map(command_message, batch.changes.sent))
        self._commands.extend(config_message(*config) for config in batch.changes.configs)

    def answer(self, message: Message) -> None:
        """Add the answer to a request that was committed by itself."""
        self._answers.append(message)

    def retain(self, messages: Iterable[Message]) -> None:
        """Add retained messages, each in place of one that waits on its topic."""
        for each in messages:
            self._retained.pop(each.topic, None)
            self._retained[each.topic] = each

    def withdraw(self, retained: Iterable[str]) -> None:
        """Remove the retained messages that wait on these topics."""
        for topic in retained:
            self._retained.pop(topic, None)

    def retain_alerts(self, messages: Iterable[Message]) -> None:
        """Add retained messages of alerts and incidents, each in place of one that waits on its topic."""
        for each in messages:
            self._alerts.pop((each.topic, None), None)
            self._alerts[each.topic, None] = each

    def publish_ended(self, alert: int | None, ended: Message) -> None:
        """Add the end of an alert, beside those of other alerts that wait on the same topic."""
        self._alerts.pop((ended.topic, alert), None)
        self._alerts[ended.topic, alert] = ended

    def publish(self, transport: Transport) -> int:
        """Publish what the connection accepts now; return the number of acknowledgements handed over."""
        acknowledged = 0
        for machine, payload in self.acks.due():
            topic = _ack_topic(machine.org, machine.name)
            acknowledged += transport.publish(Message(topic, payload, topics.ACK.qos, topics.ACK.retain))
        if not transport.connected:
            self._commands.clear()
        for _ in range(EACH_STEP):
            queue = self._commands or self._updates
            if not queue or not transport.publish(queue[0]):
                break
            queue.popleft()
        while self._answers and transport.publish(self._answers[0]):
            self._answers.popleft()
        _publish_each(self._retained, transport)
        _publish_each(self._alerts, transport)
        return acknowledged

    def clear_alerts(self) -> None:
        """Forget the alerts that wait: they are read again from the database."""
        self._alerts.clear()

    def clear(self) -> None:
        """Forget acknowledgements, commands and updates."""
        self.acks.clear()
        self._commands.clear()
        self._updates.clear()


def _publish_each(waiting: dict[Key, Message], transport: Transport) -> None:
    """Publish waiting messages in their order, as far as the connection accepts them."""
    while waiting and transport.publish(next(iter(waiting.values()))):
        del waiting[next(iter(waiting))]
