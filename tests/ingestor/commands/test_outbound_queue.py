"""What waits to be published."""

from collections.abc import Sequence

from broker.client.transport import Event, Message
from ingestor.commands.outbound_queue import EACH_STEP, Outgoing
from ingestor.domain.command_changes import Changes

COMMAND, UPDATE = Message("command", b""), Message("update", b"")


class Narrow:
    """A transport that takes so many messages, then says that it is full."""

    def __init__(self, room: int) -> None:
        self.connected = True
        self.room = room
        self.taken: list[str] = []

    def publish(self, message: Message) -> bool:
        if not self.connected or len(self.taken) >= self.room:
            return False
        self.taken.append(message.topic)
        return True

    def receive(self, limit: int, wait: float) -> Sequence[Event]:  # noqa: ARG002
        return []

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        pass

    def flush(self, seconds: float) -> bool:  # noqa: ARG002
        return True

    def close(self) -> None:
        self.connected = False


def test_commands_come_first_and_nothing_is_lost_while_the_connection_takes_no_more() -> None:
    outgoing, transport = Outgoing(), Narrow(2)
    outgoing.add(Changes(commands=[COMMAND], updates=[UPDATE, UPDATE]))
    outgoing.send(transport)
    assert transport.taken == ["command", "update"]
    transport.room = 10
    outgoing.send(transport)
    assert transport.taken == ["command", "update", "update"]
    assert not outgoing


def test_one_step_publishes_only_so_many() -> None:
    outgoing, transport = Outgoing(), Narrow(10_000)
    outgoing.add(Changes(updates=[UPDATE] * (EACH_STEP + 1)))
    outgoing.send(transport)
    assert len(transport.taken) == EACH_STEP
    assert outgoing


def test_without_a_connection_commands_are_forgotten_and_updates_wait() -> None:
    outgoing, transport = Outgoing(), Narrow(10)
    transport.connected = False
    outgoing.add(Changes(commands=[COMMAND], updates=[UPDATE]))
    outgoing.send(transport)
    transport.connected = True
    outgoing.send(transport)
    assert transport.taken == ["update"]
