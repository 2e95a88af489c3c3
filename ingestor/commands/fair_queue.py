"""Requests that wait to be read, taken in turns, so that one who asks for much delays neither others nor telemetry.

Invariant: what waits here is neither stored nor answered. Who hears nothing asks again.
"""

from collections import deque

from broker.client.transport import Message

BYTES_EACH_STEP = 96 << 10
"""About one full request: checking two hundred signatures takes some twenty milliseconds."""

MESSAGES_EACH_STEP = 50
WAITING_MAX_BYTES = 16 << 20
"""Of one who asks: a selection of ten thousand machines is about 5 MiB."""


class Turns:
    """A queue for each topic, that is for each principal."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Message]] = {}
        self._bytes: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, message: Message) -> bool:
        """Let a message wait. False when too much waits on its topic already."""
        size = self._bytes.get(message.topic, 0) + len(message.payload)
        if size > WAITING_MAX_BYTES:
            return False
        self._bytes[message.topic] = size
        self._queues.setdefault(message.topic, deque()).append(message)
        return True

    def take(self) -> list[Message]:
        """What one step may read: one of each, again and again, until there is enough; at least one when any waits."""
        taken: list[Message] = []
        room = BYTES_EACH_STEP
        while self._queues and room > 0 and len(taken) < MESSAGES_EACH_STEP:
            topic = next(iter(self._queues))
            queue = self._queues.pop(topic)
            message = queue.popleft()
            taken.append(message)
            room -= len(message.payload)
            self._bytes[topic] -= len(message.payload)
            if queue:
                self._queues[topic] = queue  # behind all others
            else:
                del self._bytes[topic]
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._queues.clear()
        self._bytes.clear()
