"""What has been committed and is still to be published: commands and configurations first, then updates.

Invariant: nothing comes in here before its COMMIT. What is lost here is said again: a command after its backoff, an
update when its request is repeated.
"""

from collections import deque

from broker.client.transport import Message, Transport
from ingestor.domain.command_changes import Changes

EACH_STEP = 500
UPDATES_MAX = 200_000
"""Updates that wait; the oldest are dropped for more."""


class Outgoing:
    """Two queues, emptied as fast as the transport takes it."""

    def __init__(self) -> None:
        self.dropped = 0
        self._commands: deque[Message] = deque()
        self._updates: deque[Message] = deque()

    def __bool__(self) -> bool:
        return bool(self._commands or self._updates)

    def add(self, changes: Changes) -> None:
        """These changes are committed."""
        self._commands.extend(changes.commands)
        self._updates.extend(changes.updates)
        while len(self._updates) > UPDATES_MAX:
            self._updates.popleft()
            self.dropped += 1

    def send(self, transport: Transport) -> None:
        """Publish what the connection takes now. Without one, commands are forgotten: they may not be late."""
        if not transport.connected:
            self._commands.clear()
            return
        for _ in range(EACH_STEP):
            queue = self._commands or self._updates
            if not queue or not transport.publish(queue[0]):
                return
            queue.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._commands.clear()
        self._updates.clear()
