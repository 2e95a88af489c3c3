"""paho's client, reading and writing many packets at a time.

paho makes four system calls to read a packet and one to answer it, which is most of the cost of receiving. Here
everything that has arrived is read at once and its PUBLISH packets are decoded at once; every other packet is left to
paho, and outgoing packets are buffered and sent together.

Invariants:
- QoS 0 and 1 only: a PUBLISH of QoS 2, or a malformed one, ends the connection.
- Buffered packets leave with `send_gathered`; nothing here waits for the network.
- Private members of paho are overridden, so its version is pinned and a test fails when the pin moves.
"""

import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes

READ_BYTES = 1 << 18
_PUBLISH = PacketTypes.PUBLISH << 4
_DISCONNECT = PacketTypes.DISCONNECT << 4
_PUBACK = bytes((PacketTypes.PUBACK << 4, 2))
_LENGTH_DIGITS_MAX = 4

Deliver = Callable[[bytes, bytes, int, bool], None]
"""Callback for a message: topic, payload, QoS, and whether it was retained."""


class FastClient(paho.Client):
    """A client for an external loop: call `loop_read`, `loop_write` and `loop_misc`, then `send_gathered`."""

    def __init__(self, *arguments: Any, deliver: Deliver, **options: Any) -> None:  # noqa: ANN401 - paho's
        super().__init__(*arguments, **options)
        self._deliver = deliver
        self._rest = b""
        self._gathered = bytearray()

    @property
    def gathered_bytes(self) -> int:
        """Number of bytes that wait for `send_gathered`."""
        return len(self._gathered)

    def gather(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish at QoS 0, without the bookkeeping of paho."""
        name = topic.encode()
        head = bytes((_PUBLISH | retain,)) + _digits(2 + len(name) + len(payload))
        self._gathered += head + len(name).to_bytes(2) + name + payload

    def ping(self) -> None:
        """Send PINGREQ now; `loop_read` reads the answer."""
        self._send_pingreq()
        self.send_gathered()

    def send_gathered(self) -> None:
        """Send as many buffered bytes as the network takes now."""
        if not self._gathered:
            return
        try:
            del self._gathered[: super()._sock_send(self._gathered)]
        except BlockingIOError:
            return
        except OSError:
            self._gathered.clear()
            self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        self._gathered += buf
        if buf[0] == _DISCONNECT:  # paho closes the socket next
            self.send_gathered()
        return len(buf)

    def _packet_read(self) -> MQTTErrorCode:
        try:
            arrived = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_AGAIN
        except OSError:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if not arrived:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        self._last_bytes_received = time.monotonic()
        result = self._handle_data(self._rest + arrived)
        self.send_gathered()
        return result

    def _handle_data(self, data: bytes) -> MQTTErrorCode:
        """Handle every whole packet in the data and keep the rest."""
        at, result = 0, MQTTErrorCode.MQTT_ERR_SUCCESS
        while result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._sock is not None:
            start, length = _length(data, at)
            if start < 0:
                result = MQTTErrorCode.MQTT_ERR_PROTOCOL
            elif not start or start + length > len(data):
                break
            elif data[at] & 0xF0 == _PUBLISH:
                result = self._deliver_publish(data, at, start, start + length)
            else:
                result = self._leave_to_paho(data[at], data[start : start + length])
            at = start + length
        self._rest = data[at:]
        return result

    def _deliver_publish(self, data: bytes, at: int, start: int, end: int) -> MQTTErrorCode:
        flags = data[at]
        qos = flags >> 1 & 3
        topic_end = start + 2 + int.from_bytes(data[start : start + 2])
        payload = topic_end + 2 if qos else topic_end
        if qos > 1 or payload > end:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self._deliver(data[start + 2 : topic_end], data[payload:end], qos, bool(flags & 1))
        if qos:
            self._gathered += _PUBACK + data[topic_end:payload]
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _leave_to_paho(self, first: int, body: bytes) -> MQTTErrorCode:
        packet = self._in_packet
        packet["command"], packet["remaining_length"], packet["packet"] = first, len(body), bytearray(body)
        try:
            return self._packet_handle()
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return where the body of the packet at `at` starts (0: incomplete, -1: malformed) and its length."""
    length = 0
    for digit in range(_LENGTH_DIGITS_MAX):
        place = at + 1 + digit
        if place >= len(data):
            return 0, 0
        length |= (data[place] & 0x7F) << 7 * digit
        if data[place] < 0x80:
            return place + 1, length
    return -1, 0


def _digits(length: int) -> bytes:
    """Encode a length as MQTT does."""
    digits = bytearray()
    while length >= 0x80:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits)
