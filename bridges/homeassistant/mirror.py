"""Retained messages in Home Assistant's broker, kept equal to what is wanted there.

Invariants:
- Only changes are published, the newest content of each topic, oldest change first, at most FLUSH_MAX for each flush.
- After `republish`, on every connection and whenever Home Assistant starts, everything is published again.
"""

from typing import Final

from broker.client.transport import Message, Transport

FLUSH_MAX: Final = 50
QOS: Final = 1


class RetainedMirror:
    """Wanted retained messages of one client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._wanted: dict[str, bytes] = {}
        self._due: dict[str, None] = {}

    @property
    def is_current(self) -> bool:
        """Whether everything has been handed to the network."""
        return not self._due

    def set(self, topic: str, payload: bytes) -> bool:
        """Want this content on a topic; return whether it is another than before."""
        if self._wanted.get(topic) == payload:
            return False
        self._wanted[topic] = payload
        self._due[topic] = None
        return True

    def clear(self, topic: str) -> None:
        """Want nothing on a topic."""
        self._wanted.pop(topic, None)
        self._due[topic] = None

    def republish(self) -> None:
        """Publish everything again."""
        self._due.update(dict.fromkeys(self._wanted))

    def flush(self) -> None:
        """Publish what is due, as far as the network takes it."""
        for topic in list(self._due)[:FLUSH_MAX]:
            if not self._transport.publish(Message(topic, self._wanted.get(topic, b""), QOS, retain=True)):
                return
            del self._due[topic]
