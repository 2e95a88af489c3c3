"""The broker that a run is to the program that it checks: it has one client, grants what the contract grants, and keeps
a log of everything that the client does.

Invariants:
- Access is decided by the policy, as on a real broker: a filter that is not granted is rejected in SUBACK.
- A later connection ends an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from broker.access.policy import Principal, Verb, allowed, covers
from broker.client.transport import Message
from broker.conformance.packets import (
    ACCEPTED,
    NOT_AUTHORIZED,
    REFUSED_FILTER,
    UNAVAILABLE,
    WRONG_CLIENT_ID,
    Connect,
)
from runtime.clock import Clock

MQTT_3_1_1 = 4


class ClientPort(Protocol):
    """The way to a connected client."""

    def send(self, message: Message) -> None:
        """Deliver a message."""
        ...

    def close(self) -> None:
        """End the connection without a word."""
        ...


@dataclass(frozen=True, slots=True)
class ClientConnected:
    """A CONNECT, and the code of its CONNACK. `at`: monotonic seconds, here and below."""

    connect: Connect
    code: int
    at: float


@dataclass(frozen=True, slots=True)
class ClientSubscribed:
    """A SUBSCRIBE, and the codes of its SUBACK."""

    filters: tuple[tuple[str, int], ...]
    codes: tuple[int, ...]
    at: float


@dataclass(frozen=True, slots=True)
class ClientPublished:
    """A PUBLISH of the client."""

    message: Message
    at: float


@dataclass(frozen=True, slots=True)
class ClientLeft:
    """The end of a connection. `orderly`: the client has sent DISCONNECT."""

    orderly: bool
    at: float


ClientEvent = ClientConnected | ClientSubscribed | ClientPublished | ClientLeft


class ProgramBroker:
    """A broker of one client, with this credential."""

    def __init__(self, principal: Principal, password: str, clock: Clock) -> None:
        self.principal = principal
        self.password = password
        self.log: list[ClientEvent] = []
        self.refuses = False
        """Whether a CONNECT is answered with 3, server unavailable."""
        self.unacknowledged = 0
        """Messages of QoS 1 that were delivered to the present connection and not acknowledged."""
        self._clock = clock
        self._port: ClientPort | None = None
        self._subscriptions: dict[str, int] = {}
        self._retained: dict[str, Message] = {}

    @property
    def is_connected(self) -> bool:
        """Whether a client is connected."""
        return self._port is not None

    def connect(self, port: ClientPort, connect: Connect) -> int:
        """Return the code of the CONNACK; the client is connected if it is 0."""
        code = self._judge(connect)
        self.log.append(ClientConnected(connect, code, self._clock.monotonic()))
        if code == ACCEPTED:
            self.cut()
            self._port, self._subscriptions, self.unacknowledged = port, {}, 0
        return code

    def subscribe(self, filters: Sequence[tuple[str, int]]) -> list[int]:
        """Return the codes of the SUBACK; `send_retained` follows it."""
        codes = []
        for filter_, qos in filters:
            is_granted = allowed(self.principal, Verb.SUBSCRIBE, filter_)
            codes.append(min(qos, 1) if is_granted else REFUSED_FILTER)
            if is_granted:
                self._subscriptions[filter_] = min(qos, 1)
        self.log.append(ClientSubscribed(tuple(filters), tuple(codes), self._clock.monotonic()))
        return codes

    def send_retained(self, filters: Sequence[tuple[str, int]]) -> None:
        """Deliver the retained messages that filters match, if they are granted."""
        for filter_, _ in filters:
            for message in list(self._retained.values()):
                if filter_ in self._subscriptions and covers(filter_, message.topic):
                    self._deliver(message, self._subscriptions[filter_])

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Remove subscriptions."""
        for filter_ in filters:
            self._subscriptions.pop(filter_, None)

    def publish(self, message: Message) -> None:
        """Note a message of the client; it is delivered to nobody."""
        self.log.append(ClientPublished(message, self._clock.monotonic()))

    def acknowledge(self) -> None:
        """Note a PUBACK of the client."""
        self.unacknowledged -= 1

    def leave(self, port: ClientPort, *, orderly: bool) -> None:
        """Note the end of a connection."""
        if port is self._port:
            self._port = None
            self.log.append(ClientLeft(orderly, self._clock.monotonic()))

    def send(self, message: Message) -> None:
        """Publish a message to the client, and retain it if it says so."""
        if message.retain:
            self._retained[message.topic] = message
            if not message.payload:
                del self._retained[message.topic]
        granted = [qos for filter_, qos in self._subscriptions.items() if covers(filter_, message.topic)]
        if granted:
            self._deliver(Message(message.topic, message.payload, message.qos), max(granted))

    def cut(self) -> None:
        """End the connection without a word."""
        port, self._port = self._port, None
        if port is not None:
            port.close()
            self.log.append(ClientLeft(orderly=False, at=self._clock.monotonic()))

    def _deliver(self, message: Message, qos: int) -> None:
        if self._port is None:
            return
        lowered = Message(message.topic, message.payload, min(message.qos, qos), message.retain)
        self.unacknowledged += lowered.qos
        self._port.send(lowered)

    def _judge(self, connect: Connect) -> int:
        if self.refuses:
            return UNAVAILABLE
        if connect.version == MQTT_3_1_1 and not self.principal.may_be_called(connect.client_id):
            return WRONG_CLIENT_ID
        is_known = (connect.username, connect.password) == (self.principal.username, self.password)
        return ACCEPTED if is_known else NOT_AUTHORIZED
