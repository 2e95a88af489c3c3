"""A fair queue of received requests: principals take turns, so that one with many delays neither others nor telemetry.

Invariant: a waiting request is neither stored nor answered. A client without an answer repeats its request.
"""

from collections import deque

from broker.client.transport import Message
from schemas.contract.topics import Address

BYTES_EACH_STEP = 96 << 10
"""About one full request: verifying two hundred signatures takes some twenty milliseconds."""

MESSAGES_EACH_STEP = 50
WAITING_MAX_BYTES = 16 << 20
"""Bound for each principal: a selection of ten thousand machines is about 5 MiB."""


class FairQueue:
    """A queue for each topic, that is for each principal."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[tuple[Message, Address]]] = {}
        self._bytes: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, message: Message, address: Address) -> bool:
        """Add a message; return False if too many bytes wait on its topic."""
        size = self._bytes.get(message.topic, 0) + len(message.payload)
        if size > WAITING_MAX_BYTES:
            return False
        self._bytes[message.topic] = size
        self._queues.setdefault(message.topic, deque()).append((message, address))
        return True

    def take(self) -> list[tuple[Message, Address]]:
        """Remove and return the messages of one step: one of each topic in turn; at least one if any waits."""
        taken: list[tuple[Message, Address]] = []
        room = BYTES_EACH_STEP
        while self._queues and room > 0 and len(taken) < MESSAGES_EACH_STEP:
            topic = next(iter(self._queues))
            queue = self._queues.pop(topic)
            taken.append(queue.popleft())
            size = len(taken[-1][0].payload)
            room -= size
            self._bytes[topic] -= size
            if queue:
                self._queues[topic] = queue  # behind all others
            else:
                del self._bytes[topic]
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._queues.clear()
        self._bytes.clear()
