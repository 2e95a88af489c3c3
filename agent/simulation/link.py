"""The connection of a simulated machine: a real one that never waits, and on which faults happen."""

import random
import selectors
from collections import deque
from collections.abc import Sequence
from typing import Any

from broker.client.mqtt import Mqtt
from broker.client.transport import Connected, Disconnected, Event, Message
from schemas.contract import topics

_OPENING_SECONDS = 0.02
_SENDING_SECONDS = 0.05
_ALIVE_SECONDS = 5.0
"""Longest time between two calls, so that the keep-alive is kept."""

_LOSSY = (topics.TELEMETRY, topics.BACKFILL)


class SimulatedLink(Mqtt):
    """A transport for a caller that waits for many at once. `counts` are what happened on it."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - those of Mqtt
        loss: float,
        delay_seconds: float,
        chance: random.Random,
        **options: Any,  # noqa: ANN401 - those of Mqtt
    ) -> None:
        super().__init__(*arguments, selector=selectors.PollSelector(), **options)
        self.connections = self.refusals = self.losses = 0
        self._loss = loss
        self._delay_seconds = delay_seconds
        self._chance = chance
        self._held: deque[tuple[float, Message]] = deque()

    @property
    def due_at(self) -> float:
        """When there is something to do if nothing arrives before, in seconds of the monotonic clock."""
        now = self._monotonic()
        if self._held:
            return max(now, self._held[0][0])
        if self.connected:
            sending = self._client is not None and self._client.gathered_bytes > 0
            return now + (_SENDING_SECONDS if sending else _ALIVE_SECONDS)
        if self._client is None:
            return self._next_attempt
        return now + _OPENING_SECONDS

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        """Return what has arrived, without waiting."""
        del wait
        events = super().receive(limit, 0.0)
        self.connections += sum(isinstance(event, Connected) for event in events)
        self.refusals += sum(isinstance(event, Disconnected) and event.refused for event in events)
        while self._held and self._held[0][0] <= self._monotonic():
            super().publish(self._held.popleft()[1])
        return events

    def publish(self, message: Message) -> bool:
        """Publish a message, or lose it or hold it back as the faults have it."""
        address = topics.parse(message.topic)
        if self._loss and address is not None and address.topic in _LOSSY and self._chance.random() < self._loss:
            self.losses += 1
            return self.connected
        if not self._delay_seconds:
            return super().publish(message)
        at = self._monotonic() + self._chance.uniform(0, self._delay_seconds)
        self._held.append((max(at, self._held[-1][0] if self._held else 0.0), message))  # in order
        return self.connected

    def heal(self) -> None:
        """Lose and hold back nothing from now on."""
        self._loss = self._delay_seconds = 0.0

    def cut(self, seconds: float) -> None:
        """Break the connection without a goodbye, and allow no new one for some seconds."""
        self._held.clear()
        self._lost("the simulated network is down")
        self._next_attempt = self._monotonic() + seconds
