"""The outbound queue: order, bounds, and what happens without a connection."""

from collections.abc import Sequence

from clocks import Clock

from broker.client.transport import Event, Message
from ingestor.domain.batch import Batch
from ingestor.domain.command import Command
from ingestor.domain.command_changes import CommandChanges
from ingestor.outbound.messages import message
from ingestor.outbound.queue import EACH_STEP, OutboundQueue
from schemas.contract import topics
from schemas.contract.commands import Update
from schemas.contract.messages import Signed

COMMAND = Command(
    id="1" * 32,
    machine_id=1,
    org="home",
    machine="attic",
    request="2" * 32,
    principal="home._ops",
    batch="3" * 32,
    gated=False,
    action="ping",
    order=Signed.model_construct(statement="{}", key="", signature=""),
    expires_at=2,
    attempts=1,
    created_at=1,
)
UPDATE = ("home", "home._ops", Update(request="2" * 32, state="accepted", at=1))


def batch(*, sent: int = 0, updates: int = 0) -> Batch:
    return Batch(changes=CommandChanges(sent=[COMMAND] * sent, updates=[UPDATE] * updates))


def queue(clock: Clock) -> OutboundQueue:
    return OutboundQueue(ack_seconds=2.0, clock=clock)


class Narrow:
    """A transport that accepts a number of messages, and is full then."""

    def __init__(self, room: int) -> None:
        self.connected = True
        self.room = room
        self.taken: list[str] = []

    def publish(self, message: Message) -> bool:
        if not self.connected or len(self.taken) >= self.room:
            return False
        self.taken.append(message.topic.rpartition("/")[2])
        return True

    def receive(self, limit: int, wait: float) -> Sequence[Event]:  # noqa: ARG002
        return []

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        pass

    def reread(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        pass

    def flush(self, seconds: float) -> bool:  # noqa: ARG002
        return True

    def close(self) -> None:
        self.connected = False


def test_commands_come_first_and_nothing_is_lost_while_the_connection_takes_no_more(clock: Clock) -> None:
    outbound, transport = queue(clock), Narrow(2)
    outbound.committed(batch(sent=1, updates=2))
    outbound.publish(transport)
    assert transport.taken == ["command", "update"]
    transport.room = 10
    outbound.publish(transport)
    assert transport.taken == ["command", "update", "update"]
    assert not outbound.busy


def test_one_step_publishes_only_so_many(clock: Clock) -> None:
    outbound, transport = queue(clock), Narrow(10_000)
    outbound.committed(batch(updates=EACH_STEP + 1))
    outbound.publish(transport)
    assert len(transport.taken) == EACH_STEP
    assert outbound.busy


def test_without_a_connection_commands_are_forgotten_and_updates_wait(clock: Clock) -> None:
    outbound, transport = queue(clock), Narrow(10)
    transport.connected = False
    outbound.committed(batch(sent=1, updates=1))
    outbound.publish(transport)
    transport.connected = True
    outbound.publish(transport)
    assert transport.taken == ["update"]


def test_of_a_retained_message_only_the_newest_waits_for_a_connection(clock: Clock) -> None:
    outbound, transport = queue(clock), Narrow(10)
    transport.connected = False
    for payload in (b"old", b"new"):
        outbound.retain([message(topics.ORG_CONFIG, payload, org="home")])
        outbound.publish(transport)
    outbound.clear()
    transport.connected = True
    outbound.publish(transport)
    assert transport.taken == ["_config"]
    outbound.publish(transport)
    assert transport.taken == ["_config"]


def test_a_withdrawn_message_is_not_published_when_the_connection_returns(clock: Clock) -> None:
    outbound, transport = queue(clock), Narrow(10)
    transport.connected = False
    outbound.retain(message(topics.ORG_CONFIG, b"old", org=org) for org in ("home", "office"))
    outbound.publish(transport)
    outbound.withdraw([topics.ORG_CONFIG.at(org="home"), topics.ORG_CONFIG.at(org="nowhere")])
    transport.connected = True
    outbound.publish(transport)
    assert transport.taken == ["_config"]
