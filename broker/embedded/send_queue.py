"""What the embedded broker still has to send to one client.

Invariants:
- Handing something over never waits, so one slow client cannot hold up another.
- Everything that waits here is bounded together, in bytes; a client that lets it overflow is to be cut (`overflowing`),
  not to lose single messages: the MQTT of a client that is connected has no gaps.
- At most `window` messages of QoS 1 are sent and not acknowledged; the next ones wait, in their order.
"""

import asyncio
from collections import deque

from amqtt.mqtt.publish import PublishPacket

from broker.client.transport import Message

_OVERHEAD_BYTES = 100  # of a message in this queue, whatever it carries
_CHUNK_BYTES = 64 << 10  # handed to the socket at once
_PACKET_IDS = 65_535


class SendQueue:
    """A queue of replies and messages, and the task that empties it."""

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
        """Whether more waits than may."""
        return self._messages_bytes + len(self._replies) > self._max_bytes

    def reply(self, packet: bytes) -> None:
        """Send this packet soon, before any message that waits."""
        self._replies += packet
        self._something.set()

    def deliver(self, message: Message) -> None:
        """Send this message when it is its turn."""
        self._messages.append(message)
        self._messages_bytes += _weight(message)
        self._something.set()

    def acknowledged(self, packet_id: int) -> None:
        """The client has the message with this id; an unknown id changes nothing."""
        self._unacknowledged.discard(packet_id)
        if self._messages:
            self._something.set()

    async def send(self, writer: asyncio.StreamWriter) -> None:
        """Send everything as fast as the client takes it, until cancelled or until the connection is lost."""
        try:
            while True:
                await self._something.wait()
                self._something.clear()
                while chunk := self._next_chunk():
                    writer.write(chunk)
                    await writer.drain()
        except OSError:  # whoever reads from this client notices too, and ends it
            return

    def _next_chunk(self) -> bytes:
        """The replies, and the messages that may be sent now, up to a size worth handing over at once."""
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
    """Bytes that this message keeps in memory. A retained one is kept by the broker anyway."""
    return _OVERHEAD_BYTES + (0 if message.retain else len(message.topic) + len(message.payload))
