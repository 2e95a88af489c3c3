"""A fair queue of received messages: their senders take turns, so that one with many delays neither others nor live
samples.

Invariant: a waiting message is neither stored nor answered. A client without an answer repeats it.
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
    """A queue for each topic, that is for each sender. The defaults are the bounds of requests.

    `each_step` and `each_step_bytes` bound what is taken in one step, `waiting_max` and `waiting_max_bytes` what waits
    on one topic.
    """

    def __init__(
        self,
        *,
        each_step: int = MESSAGES_EACH_STEP,
        each_step_bytes: int = BYTES_EACH_STEP,
        waiting_max: int | None = None,
        waiting_max_bytes: int = WAITING_MAX_BYTES,
    ) -> None:
        self.each_step = each_step
        self._each_step_bytes = each_step_bytes
        self._waiting_max = waiting_max
        self._waiting_max_bytes = waiting_max_bytes
        self._queues: dict[str, deque[tuple[Message, Address]]] = {}
        self._bytes: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, message: Message, address: Address) -> bool:
        """Add a message; return False if too much waits on its topic."""
        size = self._bytes.get(message.topic, 0) + len(message.payload)
        if size > self._waiting_max_bytes:
            return False
        if self._waiting_max is not None and len(self._queues.get(message.topic, ())) >= self._waiting_max:
            return False
        self._bytes[message.topic] = size
        self._queues.setdefault(message.topic, deque()).append((message, address))
        return True

    def take(self) -> list[tuple[Message, Address]]:
        """Remove and return the messages of one step: one of each topic in turn; at least one if any waits."""
        taken: list[tuple[Message, Address]] = []
        room = self._each_step_bytes
        while self._queues and room > 0 and len(taken) < self.each_step:
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
