"""A client that checks a broker: it sends exactly what it is told to, and sees every message with its QoS and flags."""

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from broker.client.sockets import ClientContext
from broker.client.transport import Message
from broker.conformance import packets
from broker.conformance.packets import Connect, Packet, PacketBuffer, PacketError
from runtime.clock import Clock
from runtime.settings.address import ServerAddress

READ_BYTES = 1 << 16
CONNECT_SECONDS = 10.0
END_SECONDS = 2.0
"""Longest time to wait until a broker ends a connection after DISCONNECT, which it should do, but need not."""


class BrokerClient(Protocol):
    """Connection to a broker. After its end every method returns what an unanswered one does."""

    def connect(self, connect: Connect, seconds: float) -> int | None:
        """Connect; return the code of the CONNACK, None without one."""
        ...

    def subscribe(self, filters: Sequence[str], seconds: float, *, qos: int = 1) -> list[int]:
        """Subscribe; return the codes of the SUBACK, an empty list without one."""
        ...

    def publish(self, message: Message, seconds: float) -> bool:
        """Publish; return whether a message of QoS 1 was acknowledged, True for QoS 0."""
        ...

    def receive(self, until: Callable[[list[Message]], bool], seconds: float) -> list[Message]:
        """Return what arrived since the last call, as soon as `until` is true of it, or after `seconds`."""
        ...

    def is_gone(self, seconds: float) -> bool:
        """Wait for the end of the connection, sending nothing; return whether it came."""
        ...

    def cut(self) -> None:
        """End the connection without DISCONNECT."""
        ...

    def disconnect(self) -> None:
        """Send DISCONNECT, and wait until the broker has ended the connection, so that the next one is no second."""
        ...


class TcpBrokerClient:
    """A BrokerClient over TCP or TLS."""

    def __init__(self, address: ServerAddress, tls: ClientContext | None, clock: Clock) -> None:
        self._address = address
        self._tls = tls
        self._clock = clock
        self._socket: socket.socket | None = None
        self._buffer = PacketBuffer()
        self._packet_id = 0
        self._messages: list[Message] = []
        self._answers: list[Packet] = []

    def connect(self, connect: Connect, seconds: float) -> int | None:
        """Connect; see `BrokerClient`."""
        try:
            plain = socket.create_connection((self._address.host, self._address.port), timeout=CONNECT_SECONDS)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = (
                plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self._address.host)
            )
        except OSError:
            return None
        self._send(packets.write_connect(connect))
        answer = self._answer(packets.CONNACK, None, seconds)
        return answer.body[1] if answer is not None and len(answer.body) > 1 else None

    def subscribe(self, filters: Sequence[str], seconds: float, *, qos: int = 1) -> list[int]:
        """Subscribe; see `BrokerClient`."""
        number = self._next_id()
        self._send(packets.write_subscribe(number, [(filter_, qos) for filter_ in filters]))
        answer = self._answer(packets.SUBACK, number, seconds)
        return [] if answer is None else list(answer.body[2:])

    def publish(self, message: Message, seconds: float) -> bool:
        """Publish; see `BrokerClient`."""
        number = self._next_id()
        self._send(packets.write_publish(message, number))
        return not message.qos or self._answer(packets.PUBACK, number, seconds) is not None

    def receive(self, until: Callable[[list[Message]], bool], seconds: float) -> list[Message]:
        """Receive; see `BrokerClient`."""
        self._read_until(lambda: until(self._messages), seconds)
        found, self._messages = self._messages, []
        return found

    def is_gone(self, seconds: float) -> bool:
        """Wait for the end; see `BrokerClient`."""
        self._read_until(lambda: self._socket is None, seconds)
        return self._socket is None

    def cut(self) -> None:
        """End without DISCONNECT; see `BrokerClient`."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def disconnect(self) -> None:
        """Send DISCONNECT; see `BrokerClient`."""
        self._send(packets.write(packets.DISCONNECT))
        self.is_gone(END_SECONDS)
        self.cut()

    def _next_id(self) -> int:
        self._packet_id = self._packet_id % 0xFFFF + 1
        return self._packet_id

    def _answer(self, type_: int, number: int | None, seconds: float) -> Packet | None:
        """Wait for an answer of a type, with this packet id."""

        def find() -> Packet | None:
            wanted = (each for each in self._answers if each.type == type_)
            return next((each for each in wanted if number in (None, packets.read_packet_id(each))), None)

        self._read_until(lambda: find() is not None, seconds)
        found = find()
        self._answers.clear()
        return found

    def _read_until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while self._socket is not None and not condition():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return
            self._read(left)

    def _read(self, seconds: float) -> None:
        sock = self._socket
        if sock is None:
            return
        sock.settimeout(seconds)
        try:
            data = sock.recv(READ_BYTES)
            if not data:
                self.cut()
            for packet in self._buffer.feed(data):
                self._handle(packet)
        except TimeoutError:
            return
        except (OSError, PacketError):
            self.cut()

    def _handle(self, packet: Packet) -> None:
        if packet.type != packets.PUBLISH:
            self._answers.append(packet)
            return
        message, number = packets.read_publish(packet)
        self._messages.append(message)
        if message.qos:
            self._send(packets.write_answer(packets.PUBACK, number))

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            return
        self._socket.settimeout(CONNECT_SECONDS)
        try:
            self._socket.sendall(data)
        except OSError:
            self.cut()
