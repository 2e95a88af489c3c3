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
from functools import lru_cache
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
_SUCCESS = MQTTErrorCode.MQTT_ERR_SUCCESS

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
        at, size, result = 0, len(data), MQTTErrorCode.MQTT_ERR_SUCCESS
        while result == _SUCCESS and self._sock is not None:
            start, length = _length(data, at)
            end = start + length
            if start < 0:
                result = MQTTErrorCode.MQTT_ERR_PROTOCOL
            elif not start or end > size:
                break
            elif (first := data[at]) & 0xF0 == _PUBLISH:  # in here: a call would be a fifth of its cost
                topic = start + 2
                topic_end = topic + int.from_bytes(data[start:topic])
                if first & 6 == 2 and topic_end + 2 <= end:  # QoS 1
                    self._deliver(data[topic:topic_end], data[topic_end + 2 : end], 1, bool(first & 1))
                    self._gathered += _PUBACK + data[topic_end : topic_end + 2]
                elif not first & 6 and topic_end <= end:
                    self._deliver(data[topic:topic_end], data[topic_end:end], 0, bool(first & 1))
                else:
                    result = MQTTErrorCode.MQTT_ERR_PROTOCOL
            else:
                result = self._leave_to_paho(first, data[start:end])
            at = end
        self._rest = data[at:]
        return result

    def _leave_to_paho(self, first: int, body: bytes) -> MQTTErrorCode:
        packet = self._in_packet
        packet["command"], packet["remaining_length"], packet["packet"] = first, len(body), bytearray(body)
        try:
            return self._packet_handle()
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return where the body of the packet at `at` starts (0: incomplete, -1: malformed) and its length."""
    if at + 2 < len(data) and data[at + 1] >= 0x80 > data[at + 2]:  # of most messages
        return at + 3, data[at + 1] & 0x7F | data[at + 2] << 7
    length = 0
    for digit in range(_LENGTH_DIGITS_MAX):
        place = at + 1 + digit
        if place >= len(data):
            return 0, 0
        length |= (data[place] & 0x7F) << 7 * digit
        if data[place] < 0x80:
            return place + 1, length
    return -1, 0


@lru_cache(maxsize=4096)
def _digits(length: int) -> bytes:
    """Encode a length as MQTT does. Most messages have one of few lengths."""
    digits = bytearray()
    while length >= 0x80:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits)
