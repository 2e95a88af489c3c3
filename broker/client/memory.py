"""The transport inside one process: the same guarantees as `broker.client.mqtt`, without a network.

For tests and for embedding. `MemoryBroker` routes; each `MemoryTransport` is a client of it. The contract tests of the
transport run on both implementations.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from broker.access.policy import covers
from broker.client.transport import Connected, Disconnected, Event, Message, WillMaker, never_a_will


class MemoryBroker:
    """Routes messages between its transports. Thread-safe."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running = True
        self.retained: dict[str, Message] = {}
        self.clients: dict[str, MemoryTransport] = {}

    def stop(self) -> None:
        """Stop as a killed broker does: all clients are disconnected, retained messages lost, no wills published."""
        with self.changed:
            self.running = False
            self.retained.clear()
            for client in list(self.clients.values()):
                client.cut("the broker stopped", send_will=False)

    def start(self) -> None:
        """Accept connections again."""
        self.running = True

    def route(self, message: Message) -> None:
        """Deliver to every matching subscription, and retain the message if it says so."""
        with self.changed:
            if message.retain and message.payload:
                self.retained[message.topic] = message
            elif message.retain:
                self.retained.pop(message.topic, None)
            for client in self.clients.values():
                client.deliver(message)
            self.changed.notify_all()


@dataclass(slots=True)
class _Connection:
    will: Message | None


class MemoryTransport:
    """A client of a MemoryBroker. `pass_time` is called instead of waiting, for a test's clock."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        client_id: str,
        subscriptions: Sequence[tuple[str, int]] = (),
        will: WillMaker = never_a_will,
        pass_time: Callable[[float], None] | None = None,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._subscriptions = list(subscriptions)
        self._will = will
        self._pass_time = pass_time
        self._connection: _Connection | None = None
        self._closed = False
        self._events: list[Event] = []

    @property
    def connected(self) -> bool:
        """Whether messages can be published now."""
        return self._connection is not None

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        """Return up to `limit` events; see `Transport`."""
        with self._broker.changed:
            self._connect_if_possible()
            if not self._events and wait > 0:
                if self._pass_time is None:
                    self._broker.changed.wait_for(lambda: self._events, wait)
                else:
                    self._pass_time(wait)
            taken, self._events = self._events[:limit], self._events[limit:]
            return taken

    def publish(self, message: Message) -> bool:
        """Deliver a message at once; see `Transport`."""
        with self._broker.changed:
            if self._connection is None:
                return False
            self._broker.route(message)
            return True

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Replace the subscriptions; see `Transport`."""
        with self._broker.changed:
            self._subscriptions = list(subscriptions)
            if self._connection is not None:
                self._queue_retained(self._subscriptions)

    def reread(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Queue the retained messages that match; see `Transport`."""
        with self._broker.changed:
            if self._connection is not None:
                self._queue_retained(subscriptions)

    def flush(self, seconds: float) -> bool:  # noqa: ARG002 - a publish is delivered at once
        """Return True while connected; see `Transport`."""
        return self.connected

    def close(self) -> None:
        """Disconnect cleanly; see `Transport`."""
        with self._broker.changed:
            self._closed = True
            self._connection = None
            self._leave()

    def cut(self, reason: str = "cut", *, send_will: bool = True) -> None:
        """End the connection as a network failure does; the broker publishes the will."""
        with self._broker.changed:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            self._leave()
            self._events.append(Disconnected(reason))
            if send_will and connection.will is not None:
                self._broker.route(connection.will)
            self._broker.changed.notify_all()

    def deliver(self, message: Message) -> None:
        """Queue a message that a subscription matches."""
        granted = [qos for filter_, qos in self._subscriptions if covers(filter_, message.topic)]
        if granted:
            self._events.append(replace(message, qos=min(message.qos, max(granted)), retain=False))

    def _leave(self) -> None:
        if self._broker.clients.get(self._client_id) is self:
            del self._broker.clients[self._client_id]

    def _connect_if_possible(self) -> None:
        if self._connection is not None or self._closed or self._events or not self._broker.running:
            return
        if (other := self._broker.clients.get(self._client_id)) is not None:
            other.cut("another client with this id connected", send_will=False)
        self._connection = _Connection(self._will())
        self._broker.clients[self._client_id] = self
        self._events.append(Connected())
        self._queue_retained(self._subscriptions)

    def _queue_retained(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        for message in self._broker.retained.values():
            if any(covers(filter_, message.topic) for filter_, _ in subscriptions):
                self._events.append(message)
