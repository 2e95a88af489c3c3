"""Lists of facts that wait to be handled, of each topic only the newest: none is lost, and noise costs little.

Invariants:
- A list is handled at most every PACE_SECONDS; one that arrives earlier waits, and replaces the one that waits.
- At most EACH_STEP lists are handled in a step, after the live samples, and WAITING_MAX_BYTES wait. What does not fit
  is dropped; it is retained, so it is read from the broker again, at most every REREAD_SECONDS.
"""

from collections import deque

from broker.client.transport import Message
from runtime.clock import Clock
from schemas.contract.topics import Address

PACE_SECONDS = 5.0
EACH_STEP = 50
"""A list of 512 items takes some milliseconds to handle and to store."""

WAITING_MAX_BYTES = 64 << 20
REREAD_SECONDS = 60.0

Waiting = tuple[Message, Address]


class FactQueue:
    """The lists that wait, by topic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: dict[str, Waiting] = {}
        self._held: dict[str, Waiting] = {}
        """Lists of topics that were handled less than PACE_SECONDS ago."""
        self._paced: set[str] = set()
        self._due: deque[tuple[float, str]] = deque()
        """Paced topics, with the time until which they are."""
        self._bytes = 0
        self._has_dropped = False
        self._reread_at = 0.0

    def __bool__(self) -> bool:
        self._release()
        return bool(self._ready)

    def put(self, message: Message, address: Address) -> bool:
        """Add a list in place of the one that waits on its topic; return False if too much waits."""
        waiting = self._held if message.topic in self._paced else self._ready
        if (replaced := waiting.pop(message.topic, None)) is not None:
            self._bytes -= len(replaced[0].payload)
        if self._bytes + len(message.payload) > WAITING_MAX_BYTES:
            self._has_dropped = True
            return False
        self._bytes += len(message.payload)
        waiting[message.topic] = message, address
        return True

    def take(self) -> list[Waiting]:
        """Remove and return the lists to handle in this step."""
        self._release()
        taken = [self._ready.pop(next(iter(self._ready))) for _ in range(min(EACH_STEP, len(self._ready)))]
        until = self._clock.monotonic() + PACE_SECONDS
        for message, _ in taken:
            self._bytes -= len(message.payload)
            self._paced.add(message.topic)
            self._due.append((until, message.topic))
        return taken

    def must_reread(self) -> bool:
        """Return whether the retained lists are to be requested again now."""
        now = self._clock.monotonic()
        if not self._has_dropped or self._ready or self._held or now < self._reread_at:
            return False
        self._has_dropped, self._reread_at = False, now + REREAD_SECONDS
        return True

    def clear(self) -> None:
        """Forget the lists that wait."""
        self._ready.clear()
        self._held.clear()
        self._bytes = 0

    def _release(self) -> None:
        """Let the topics be handled again whose time has come."""
        while self._due and self._due[0][0] <= self._clock.monotonic():
            topic = self._due.popleft()[1]
            self._paced.discard(topic)
            if (waiting := self._held.pop(topic, None)) is not None:
                self._ready[topic] = waiting
