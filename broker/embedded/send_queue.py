"""Packets that the embedded broker has to send to one client.

Invariants:
- Queueing never waits, so one slow client cannot delay another.
- The queue is bounded in bytes. A client whose queue overflows is disconnected (`overflowing`) and does not lose single
  messages: a connected client of MQTT has no gaps.
- At most `window` messages of QoS 1 are sent and unacknowledged; the next ones wait in their order.
"""

import asyncio
from collections import deque

from amqtt.mqtt.publish import PublishPacket

from broker.client.transport import Message
from broker.embedded.byte_stream import ByteWriter

_OVERHEAD_BYTES = 100  # of a message in this queue, without topic and payload
_CHUNK_BYTES = 64 << 10  # written to the socket at once
_PACKET_IDS = 65_535


class SendQueue:
    """A queue of replies and messages, and the coroutine that empties it."""

    def __init__(self, *, max_bytes: int, window: int) -> None:
        self._max_bytes = max_bytes
        self._window = window
        self._replies = bytearray()
        self._messages: deque[Message] = deque()
        self._messages_bytes = 0
        self._unacknowledged: set[int] = set()
        self._packet_id = 0
        self._something = asyncio.Event()

    @property
    def overflowing(self) -> bool:
        """Whether the queue exceeds its limit."""
        return self._messages_bytes + len(self._replies) > self._max_bytes

    def reply(self, packet: bytes) -> None:
        """Queue a packet before all messages."""
        self._replies += packet
        self._something.set()

    def deliver(self, message: Message) -> None:
        """Queue a message."""
        self._messages.append(message)
        self._messages_bytes += _weight(message)
        self._something.set()

    def acknowledged(self, packet_id: int) -> bool:
        """Handle a PUBACK; return whether a message waited for it. An unknown id is ignored."""
        waited = packet_id in self._unacknowledged
        self._unacknowledged.discard(packet_id)
        if self._messages:
            self._something.set()
        return waited

    async def send(self, writer: ByteWriter) -> None:
        """Send the queue as fast as the client reads it, until cancelled or until the connection is lost."""
        try:
            while True:
                await self._something.wait()
                self._something.clear()
                while chunk := self._next_chunk():
                    writer.write(chunk)
                    await writer.drain()
        except OSError:  # the reading side notices it as well and ends the connection
            return

    def _next_chunk(self) -> bytes:
        """Return the replies, and messages that may be sent now, up to about _CHUNK_BYTES."""
        chunk, self._replies = self._replies, bytearray()
        while self._messages and len(chunk) < _CHUNK_BYTES:
            if self._messages[0].qos and len(self._unacknowledged) >= self._window:
                break
            message = self._messages.popleft()
            self._messages_bytes -= _weight(message)
            chunk += self._encoded(message)
        return bytes(chunk)

    def _encoded(self, message: Message) -> bytes:
        packet_id = self._next_packet_id() if message.qos else None
        packet = PublishPacket.build(message.topic, message.payload, packet_id, False, message.qos, message.retain)
        encoded: bytes = packet.to_bytes()
        return encoded

    def _next_packet_id(self) -> int:
        while True:
            self._packet_id = self._packet_id % _PACKET_IDS + 1
            if self._packet_id not in self._unacknowledged:
                self._unacknowledged.add(self._packet_id)
                return self._packet_id


def _weight(message: Message) -> int:
    """Return the bytes of memory that a message in the queue costs. A retained one is in memory anyway."""
    return _OVERHEAD_BYTES + (0 if message.retain else len(message.topic) + len(message.payload))
