"""The messages of this machine about itself: on its own topics, with its session."""

from typing import Literal

from agent.session_counter import SessionCounter
from broker.client.transport import Message
from runtime.clock import Clock
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.messages import OfflineReason, Status


class OwnMessages:
    """Makes the messages of one machine."""

    def __init__(self, settings: AgentSettings, sessions: SessionCounter, clock: Clock) -> None:
        self.interval_seconds = settings.interval_seconds
        """Time between two samples, as the status states it."""
        self._own = {"org": settings.org, "machine": settings.machine}
        self._sessions = sessions
        self._clock = clock

    def on(self, topic: topics.Topic, payload: bytes, **levels: str) -> Message:
        """Return a message on a topic of the machine. `levels`: those that the topic has beside the machine's."""
        return Message(topic.at(**self._own, **levels), payload, topic.qos, topic.retain)

    def subscriptions(self, *read: topics.Topic) -> list[tuple[str, int]]:
        """Return these topics of the machine or of its organisation, with their QoS."""
        return [(topic.at(**self._own), topic.qos) for topic in read]

    def status(self, state: Literal["online", "offline"], reason: OfflineReason | None = None) -> Message:
        """Return the birth, or the goodbye with this reason."""
        status = Status(
            state=state,
            reason=reason,
            session=self._sessions.current,
            at=self._clock.now(),
            interval_seconds=self.interval_seconds,
        )
        return self.on(topics.STATUS, status.encode())

    def will(self) -> Message:
        """Begin the session of the next connection, and return its will."""
        self._sessions.next()
        return self.status("offline", "lost")
