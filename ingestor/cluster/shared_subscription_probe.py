"""Finds out whether the broker supports shared subscriptions (`$share`), at an ingestor's first connection.

Invariant: the answer is "no" only if the broker refuses, or has delivered over an ordinary subscription a message that
was published after one that it did not deliver over a shared one. So a slow broker is waited for.

It is tested by publishing, because some brokers (NATS) accept the subscription and deliver nothing, and MQTT 3.1.1 does
not carry the name of the broker.
"""

from typing import Final

from broker.client.transport import Connected, Message, Transport, shared
from runtime.clock import Clock
from schemas.contract import topics

PATIENCE_SECONDS: Final = 2.0
"""Time that the shared message may take after the ordinary one has arrived."""

AGAIN_SECONDS: Final = 2.0
"""Interval at which both are published while neither has arrived."""


class SharedSubscriptionProbe:
    """The probe of the ingestor called `name`."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        self._shared = topics.PROBE.at(principal=name, way="shared")
        self._plain = topics.PROBE.at(principal=name, way="plain")
        self._filters = (shared(self._shared, f"probe-{name}"), self._plain)
        self.subscriptions = tuple((filter_, topics.PROBE.qos) for filter_ in self._filters)
        self._answer: bool | None = None
        self._publish_at: float | None = None
        self._until: float | None = None

    def start(self, event: Connected) -> None:
        """Start (again) on a new connection."""
        self._until = None
        if self._filters[0] in event.refused:
            self._answer = False
        self._publish_at = self._clock.monotonic()

    def handle(self, message: Message) -> None:
        """Handle a message on a topic of the probe."""
        if message.topic == self._shared:
            self._answer = True
        elif message.topic == self._plain and self._until is None:
            self._until = self._clock.monotonic() + PATIENCE_SECONDS

    def step(self, transport: Transport) -> bool | None:
        """Publish while there is no answer; return the answer, None until it is known."""
        now = self._clock.monotonic()
        if self._answer is None and self._until is not None and now >= self._until:
            self._answer = False
        if self._answer is None and self._until is None and self._publish_at is not None and now >= self._publish_at:
            self._publish_at = now + AGAIN_SECONDS
            for topic in (self._shared, self._plain):
                transport.publish(Message(topic, b"", topics.PROBE.qos))
        return self._answer
