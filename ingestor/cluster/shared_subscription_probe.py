"""Whether the broker shares subscriptions (`$share`): asked once, when an ingestor first has a connection.

Invariant: "no" is said only by a broker that refuses, or that has delivered over an ordinary subscription what was
published after what it did not deliver over a shared one. So a slow broker is waited for, not taken for one without.
"""

from collections.abc import Callable
from typing import Final

from broker.client.transport import Connected, Message, Transport, shared
from schemas.contract import topics

PATIENCE_SECONDS: Final = 2.0
"""After the ordinary message came, how long the shared one may still take."""

AGAIN_SECONDS: Final = 2.0
"""While neither came, how often both are published."""


class Probe:
    """Of the ingestor called `name`. `monotonic`: seconds that never step."""

    def __init__(self, name: str, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._shared = topics.PROBE.at(principal=name, way="shared")
        self._plain = topics.PROBE.at(principal=name, way="plain")
        self._filters = (shared(self._shared, f"probe-{name}"), self._plain)
        self.subscriptions = tuple((filter_, topics.PROBE.qos) for filter_ in self._filters)
        self._answer: bool | None = None
        self._publish_at: float | None = None
        self._until: float | None = None

    def begin(self, event: Connected) -> None:
        """There is a connection (again)."""
        self._until = None
        if self._filters[0] in event.refused:
            self._answer = False
        self._publish_at = self._monotonic()

    def take(self, message: Message) -> None:
        """A message on one of its topics has come."""
        if message.topic == self._shared:
            self._answer = True
        elif message.topic == self._plain and self._until is None:
            self._until = self._monotonic() + PATIENCE_SECONDS

    def step(self, transport: Transport) -> bool | None:
        """Ask while there is no answer. The answer, None for as long as there is none."""
        now = self._monotonic()
        if self._answer is None and self._until is not None and now >= self._until:
            self._answer = False
        if self._answer is None and self._until is None and self._publish_at is not None and now >= self._publish_at:
            self._publish_at = now + AGAIN_SECONDS
            for topic in (self._shared, self._plain):
                transport.publish(Message(topic, b"", topics.PROBE.qos))
        return self._answer
