"""Decoding of MQTT 3.1.1 packets for the embedded broker: amqtt's codec, made strict.

Invariants:
- A packet is read whole; one that is too long is rejected by its length before its body is read, and one with too many
  topic filters before it is decoded, so that no decoder waits, reads into the next packet or blocks the event loop.
- A decoded packet encodes to the same bytes that were received. Text that is not UTF-8, truncated fields and trailing
  bytes all fail this check.
- Every malformed packet raises ProtocolViolation; nothing else is raised for what a client sent.
"""

from typing import Any

from amqtt.adapters import BufferReader, StreamReaderAdapter
from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import UNACCEPTABLE_PROTOCOL_VERSION, ConnackPacket
from amqtt.mqtt.connect import ConnectPacket, ConnectVariableHeader
from amqtt.mqtt.packet import CONNECT, PUBLISH, PUBREL, SUBSCRIBE, UNSUBSCRIBE, MQTTFixedHeader

from broker.embedded.byte_stream import ByteReader

Packet = Any  # amqtt is not typed

_DECODING = (AMQTTError, MQTTError, CodecError, NoDataError)
_FLAGS = {PUBREL: 0b0010, SUBSCRIBE: 0b0010, UNSUBSCRIBE: 0b0010}  # what [MQTT-2.2.2-1] fixes, 0 for the others
_PROTOCOL = ("MQTT", 4)
_OLDER_AND_NEWER = ("MQTT", "MQIsdp")
_CONNACK_MQTT_5 = b"\x20\x03\x00\x84\x00"
"""Unsupported protocol version, in the form of MQTT 5 (section 3.2), as a strict client of 5 reads no other."""

_QOS_BYTES = {SUBSCRIBE: 1, UNSUBSCRIBE: 0}
"""Bytes that follow each topic filter in these packets."""


class ProtocolViolation(Exception):  # noqa: N818 - it is the client's error, not ours
    """The client violated the protocol; its connection ends."""


class ConnectRefused(Exception):  # noqa: N818 - an answer, not an error
    """A CONNECT is answered with this CONNACK, and the connection ends."""

    def __init__(self, code: int, reason: str, *, connack: bytes | None = None) -> None:
        super().__init__(reason)
        self.connack: bytes = connack or ConnackPacket.build(0, code).to_bytes()


async def read_packet(reader: ByteReader, max_bytes: int, *, max_filters: int = 100) -> Packet:
    """Read the next packet after CONNECT.

    Raises ProtocolViolation, or EOFError when the client has closed the connection.
    """
    header, body = await _read(reader, max_bytes)
    if header.packet_type == CONNECT:
        raise ProtocolViolation("a second CONNECT [MQTT-3.1.0-2]")
    if header.packet_type != PUBLISH and header.flags != _FLAGS.get(header.packet_type, 0):
        raise ProtocolViolation("reserved flags are set [MQTT-2.2.2-2]")
    if header.packet_type in _QOS_BYTES:
        _require_few_filters(body, _QOS_BYTES[header.packet_type], max_filters)
    return await _decode(header, body)


async def read_connect(reader: ByteReader, max_bytes: int) -> Packet:
    """Read the first packet, a CONNECT of MQTT 3.1.1.

    Raises ConnectRefused for another version of MQTT, ProtocolViolation and EOFError.
    """
    header, body = await _read(reader, max_bytes)
    if header.packet_type != CONNECT or header.flags:
        raise ProtocolViolation("the first packet is not a CONNECT [MQTT-3.1.0-1]")
    try:
        start = await ConnectVariableHeader.from_stream(BufferReader(body), header)
    except _DECODING as error:
        raise ProtocolViolation(str(error)) from None
    # Checked before the rest is decoded, which has another layout in MQTT 5.
    if (start.proto_name, start.proto_level) != _PROTOCOL:
        if start.proto_name in _OLDER_AND_NEWER:
            raise ConnectRefused(
                UNACCEPTABLE_PROTOCOL_VERSION,
                f"it speaks level {start.proto_level} of MQTT, and only 3.1.1 (level 4) is supported",
                connack=_CONNACK_MQTT_5 if start.proto_level == 5 else None,
            )
        raise ProtocolViolation("not MQTT [MQTT-3.1.2-1]")
    packet = await _decode(header, body)
    _check_connect(packet)
    return packet


def is_topic(text: str) -> bool:
    """Return True if messages can be published to it: not empty, no wildcard, no NUL."""
    return bool(text) and not any(sign in text for sign in "+#\0")


def is_filter(text: str) -> bool:
    """Return True if it is a topic filter: a wildcard stands for a whole level, `#` only for the last ones."""
    levels = text.split("/")
    return (
        bool(text)
        and "\0" not in text
        and "#" not in "".join(levels[:-1])
        and all(level in ("+", "#") or not ("+" in level or "#" in level) for level in levels)
    )


async def _read(reader: ByteReader, max_bytes: int) -> tuple[MQTTFixedHeader, bytes]:
    try:
        header = await MQTTFixedHeader.from_stream(StreamReaderAdapter(reader))
    except MQTTError as error:
        raise ProtocolViolation(str(error)) from None
    if header is None:
        raise EOFError
    if header.remaining_length > max_bytes:
        raise ProtocolViolation(f"a packet of {header.remaining_length} bytes is too large")
    return header, await reader.readexactly(header.remaining_length)


def _require_few_filters(body: bytes, qos_bytes: int, most: int) -> None:
    at, filters = 2, 0  # behind the packet id
    while at < len(body):
        at += 2 + int.from_bytes(body[at : at + 2]) + qos_bytes
        filters += 1
        if filters > most:
            raise ProtocolViolation(f"more than {most} topic filters in one packet")


async def _decode(header: MQTTFixedHeader, body: bytes) -> Packet:
    try:
        packet = await packet_class(header).from_stream(BufferReader(body), fixed_header=header)
    except _DECODING as error:
        raise ProtocolViolation(str(error)) from None
    if isinstance(packet, ConnectPacket) and packet.client_id_is_random:
        packet.client_id = ""  # amqtt invents one
    if _encoded(packet) != body:
        raise ProtocolViolation("the packet does not hold what it says [MQTT-1.5.3-1]")
    return packet


def _encoded(packet: Packet) -> bytes:
    """Return the bytes that follow the fixed header."""
    start = packet.variable_header.to_bytes() if packet.variable_header is not None else b""
    if packet.payload is None:
        return bytes(start)
    return bytes(start + packet.payload.to_bytes(packet.fixed_header, packet.variable_header))


def _check_connect(packet: ConnectPacket) -> None:
    if packet.reserved_flag:
        raise ProtocolViolation("the reserved flag is set [MQTT-3.1.2-3]")
    if packet.will_flag:
        if packet.will_message is None or packet.will_qos > 2 or not is_topic(packet.will_topic):
            raise ProtocolViolation("the will cannot be published [MQTT-3.1.2-14]")
    elif packet.will_qos or packet.will_retain_flag:
        raise ProtocolViolation("properties of a will without a will [MQTT-3.1.2-11]")
