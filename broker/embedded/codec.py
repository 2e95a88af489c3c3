"""Packets of MQTT 3.1.1 as the embedded broker takes them from the network: amqtt's codec, made strict.

Invariants:
- A packet is read whole, and refused by its length before that, so that no decoder ever waits or reads into the next.
- A packet is what its sender sent: what it decodes to encodes to the same bytes. Text that is not UTF-8, fields that
  end early and bytes left over all fail this, whatever the decoder made of them.
- Whatever is wrong with a packet is a Violation; nothing else is raised for what a client sent.
"""

import asyncio
from typing import Any

from amqtt.adapters import BufferReader, StreamReaderAdapter
from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import UNACCEPTABLE_PROTOCOL_VERSION
from amqtt.mqtt.connect import ConnectPacket, ConnectVariableHeader
from amqtt.mqtt.packet import CONNECT, PUBLISH, PUBREL, SUBSCRIBE, UNSUBSCRIBE, MQTTFixedHeader

Packet = Any  # amqtt is not typed

_DECODING = (AMQTTError, MQTTError, CodecError, NoDataError)
_FLAGS = {PUBREL: 0b0010, SUBSCRIBE: 0b0010, UNSUBSCRIBE: 0b0010}  # what [MQTT-2.2.2-1] fixes, 0 for the others
_PROTOCOL = ("MQTT", 4)
_OLDER_AND_NEWER = ("MQTT", "MQIsdp")


class ProtocolViolation(Exception):  # noqa: N818 - it is the client's error, not ours
    """A client broke the protocol; its connection ends."""


class ConnectRefused(Exception):  # noqa: N818 - an answer, not an error
    """A CONNECT is answered with this return code, and the connection ends."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def read_packet(reader: asyncio.StreamReader, max_bytes: int) -> Packet:
    """The next packet after CONNECT. Raises Violation, or EOFError when the client is gone."""
    header, body = await _read(reader, max_bytes)
    if header.packet_type == CONNECT:
        raise ProtocolViolation("a second CONNECT [MQTT-3.1.0-2]")
    if header.packet_type != PUBLISH and header.flags != _FLAGS.get(header.packet_type, 0):
        raise ProtocolViolation("reserved flags are set [MQTT-2.2.2-2]")
    return await _decode(header, body)


async def read_connect(reader: asyncio.StreamReader, max_bytes: int) -> Packet:
    """The first packet, whose protocol is MQTT 3.1.1. Raises Refusal for another version, Violation and EOFError."""
    header, body = await _read(reader, max_bytes)
    if header.packet_type != CONNECT or header.flags:
        raise ProtocolViolation("the first packet is not a CONNECT [MQTT-3.1.0-1]")
    try:
        start = await ConnectVariableHeader.from_stream(BufferReader(body), header)
    except _DECODING as error:
        raise ProtocolViolation(str(error)) from None
    # Asked before the rest is decoded, which looks different in MQTT 5.
    if (start.proto_name, start.proto_level) != _PROTOCOL:
        if start.proto_name in _OLDER_AND_NEWER:
            raise ConnectRefused(UNACCEPTABLE_PROTOCOL_VERSION, "only MQTT 3.1.1 is spoken here")
        raise ProtocolViolation("not MQTT [MQTT-3.1.2-1]")
    packet = await _decode(header, body)
    _check_connect(packet)
    return packet


def is_topic(text: str) -> bool:
    """Whether messages may be published to it: not empty, no wildcard, no NUL, not the broker's own `$`."""
    return bool(text) and text[0] != "$" and not any(sign in text for sign in "+#\0")


def is_filter(text: str) -> bool:
    """Whether it is a topic filter: wildcards stand for whole levels, `#` only for the last."""
    levels = text.split("/")
    return (
        bool(text)
        and "\0" not in text
        and "#" not in "".join(levels[:-1])
        and all(level in ("+", "#") or not ("+" in level or "#" in level) for level in levels)
    )


async def _read(reader: asyncio.StreamReader, max_bytes: int) -> tuple[MQTTFixedHeader, bytes]:
    try:
        header = await MQTTFixedHeader.from_stream(StreamReaderAdapter(reader))
    except MQTTError as error:
        raise ProtocolViolation(str(error)) from None
    if header is None:
        raise EOFError
    if header.remaining_length > max_bytes:
        raise ProtocolViolation(f"a packet of {header.remaining_length} bytes is too large")
    return header, await reader.readexactly(header.remaining_length)


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
    """What follows the fixed header."""
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
