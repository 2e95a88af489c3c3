"""MQTT 3.1.1 packets as both sides of a run read and write them, so that a run sees exactly what a program sends.

Invariants:
- Whatever arrives is decoded or raises PacketError; a packet over PACKET_MAX bytes is refused by its length.
- Only QoS 0 and 1: the contract uses no other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from broker.client.transport import Message

PACKET_MAX = 1 << 18
CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 8, 9, 10, 11
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14

ACCEPTED, WRONG_CLIENT_ID, UNAVAILABLE, NOT_AUTHORIZED = 0, 2, 3, 5
REFUSED_FILTER = 0x80
MQTT_5_REFUSED = b"\x20\x03\x00\x84\x00"
"""CONNACK that says to a client of MQTT 5 that its version is not supported."""

_VERSION_5 = 5
_LENGTH_BYTES = 4
_FLAG_CLEAN, _FLAG_WILL, _FLAG_PASSWORD, _FLAG_USER = 0x02, 0x04, 0x40, 0x80


class PacketError(ValueError):
    """The bytes are no packet of MQTT 3.1.1."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet: its type, the flags of its first byte, and its body."""

    type: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT. `version`: 4 is MQTT 3.1.1; of another one no other field is read."""

    version: int
    client_id: str = ""
    username: str = ""
    password: str = ""
    clean: bool = True
    keep_alive: int = 0
    will: Message | None = None


class PacketBuffer:
    """Bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Add bytes; yield the packets that are complete. Raises PacketError."""
        self._data += data
        while (found := self._take()) is not None:
            yield found

    def _take(self) -> Packet | None:
        length = 0
        for place, digit in enumerate(self._data[1 : 1 + _LENGTH_BYTES]):
            length |= (digit & 0x7F) << 7 * place
            if not digit & 0x80:
                break
        else:
            if len(self._data) > _LENGTH_BYTES:
                raise PacketError("the length of a packet is malformed")
            return None
        if length > PACKET_MAX:
            raise PacketError(f"a packet of {length} bytes, {PACKET_MAX} is the limit")
        start = place + 2
        if len(self._data) < start + length:
            return None
        first, body, self._data = self._data[0], self._data[start : start + length], self._data[start + length :]
        return Packet(first >> 4, first & 0x0F, body)


def write(type_: int, body: bytes = b"", *, flags: int = 0) -> bytes:
    """Return a packet."""
    length, digits = len(body), b""
    while True:
        length, digit = length >> 7, length & 0x7F
        digits += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([type_ << 4 | flags]) + digits + body


def write_connect(connect: Connect) -> bytes:
    """Return a CONNECT."""
    flags, will = _FLAG_USER | _FLAG_PASSWORD | _FLAG_CLEAN * connect.clean, b""
    if connect.will is not None:
        flags |= _FLAG_WILL | connect.will.qos << 3 | connect.will.retain << 5
        will = _text(connect.will.topic) + _sized(connect.will.payload)
    head = _text("MQTT") + bytes([connect.version, flags]) + connect.keep_alive.to_bytes(2)
    return write(CONNECT, head + _text(connect.client_id) + will + _text(connect.username) + _text(connect.password))


def write_connack(code: int) -> bytes:
    """Return a CONNACK without a session."""
    return write(CONNACK, bytes([0, code]))


def write_publish(message: Message, packet_id: int) -> bytes:
    """Return a PUBLISH. `packet_id`: not used with QoS 0."""
    number = packet_id.to_bytes(2) if message.qos else b""
    flags = message.qos << 1 | message.retain
    return write(PUBLISH, _text(message.topic) + number + message.payload, flags=flags)


def write_subscribe(packet_id: int, filters: Sequence[tuple[str, int]]) -> bytes:
    """Return a SUBSCRIBE."""
    body = b"".join(_text(filter_) + bytes([qos]) for filter_, qos in filters)
    return write(SUBSCRIBE, packet_id.to_bytes(2) + body, flags=2)


def write_answer(type_: int, packet_id: int, codes: Sequence[int] = ()) -> bytes:
    """Return a PUBACK, SUBACK or UNSUBACK."""
    return write(type_, packet_id.to_bytes(2) + bytes(codes))


def read_connect(body: bytes) -> Connect:
    """Return the fields of a CONNECT. Raises PacketError."""
    fields = _Fields(body)
    fields.data()
    version, flags = fields.number(1), fields.number(1)
    if version >= _VERSION_5:
        return Connect(version)
    keep_alive, client_id, will = fields.number(2), fields.text(), None
    if flags & _FLAG_WILL:
        will = Message(fields.text(), fields.data(), flags >> 3 & 3, bool(flags & 0x20))
    username = fields.text() if flags & _FLAG_USER else ""
    password = fields.text() if flags & _FLAG_PASSWORD else ""
    return Connect(version, client_id, username, password, bool(flags & _FLAG_CLEAN), keep_alive, will)


def read_publish(packet: Packet) -> tuple[Message, int]:
    """Return the message of a PUBLISH, and its packet id (0 with QoS 0). Raises PacketError."""
    fields, qos = _Fields(packet.body), packet.flags >> 1 & 3
    topic = fields.text()
    packet_id = fields.number(2) if qos else 0
    return Message(topic, fields.rest(), qos, bool(packet.flags & 1)), packet_id


def read_filters(packet: Packet) -> tuple[int, list[tuple[str, int]]]:
    """Return the packet id of a SUBSCRIBE or UNSUBSCRIBE, and its filters with their QoS. Raises PacketError."""
    fields, filters = _Fields(packet.body), []
    packet_id = fields.number(2)
    while fields.has_more:
        filters.append((fields.text(), fields.number(1) if packet.type == SUBSCRIBE else 0))
    return packet_id, filters


def read_packet_id(packet: Packet) -> int:
    """Return the packet id at the start of a PUBACK or SUBACK. Raises PacketError."""
    return _Fields(packet.body).number(2)


class _Fields:
    """The fields of a body, in their order."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @property
    def has_more(self) -> bool:
        return bool(self._body)

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def data(self) -> bytes:
        return self._take(self.number(2))

    def text(self) -> str:
        try:
            return self.data().decode()
        except UnicodeDecodeError:
            raise PacketError("a text is not UTF-8") from None

    def rest(self) -> bytes:
        return self._take(len(self._body))

    def _take(self, size: int) -> bytes:
        if len(self._body) < size:
            raise PacketError("a packet ends too early")
        found, self._body = self._body[:size], self._body[size:]
        return found


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def _text(text: str) -> bytes:
    return _sized(text.encode())
