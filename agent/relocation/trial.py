"""The trial of another server: does it accept this machine and acknowledge a sample?

Invariants:
- The agent stays connected to its server meanwhile: nothing of it changes, whatever becomes of the trial.
- Only an acknowledgement of the sample counts. That of the broker means nothing.
- The sample is an additional one, in a stream of its own: no number of the outbox is used.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from pydantic import ValidationError

from broker.client.transport import Connected, Disconnected, Event, Message, Transport, WillMaker
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.messages import Extra, OfflineReason, Status, Telemetry, Vitals

TRIAL_SECONDS = 60.0
REPEAT_SECONDS = 5.0
_WAIT_SECONDS = 0.2
_GOODBYE_SECONDS = 3.0

OpenTrialTransport = Callable[[list[tuple[str, int]], WillMaker], Transport]
"""Returns a transport to the other server, not connected yet, with these subscriptions and this will."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result: `problem` is empty if the server has acknowledged a sample.

    `is_same_server`: it is the server that the agent is connected to already, under another address.
    """

    problem: str
    is_same_server: bool = False


class Trial:
    """A trial. `org` and `machine` are the machine's there; `home_session` is its session with its present server.

    `readings` takes the readings of the sample; `stream` is a new random id.
    """

    def __init__(
        self,
        open_transport: OpenTrialTransport,
        *,
        org: str,
        machine: str,
        home_session: int,
        interval_seconds: float,
        stream: str,
        readings: Callable[[], tuple[Vitals, Extra]],
        clock: Clock,
    ) -> None:
        self._own = {"org": org, "machine": machine}
        self._home_session = home_session
        self._interval_seconds = interval_seconds
        self._stream = stream
        self._readings = readings
        self._clock = clock
        self._session = 0
        self._sample: Message | None = None
        self._send_at = 0.0
        self._problem = "it does not answer"
        self._is_same_server = False
        self._transport = open_transport(
            [(topic.at(**self._own), topic.qos) for topic in (topics.ACK, topics.STATUS)], self._will
        )

    def run(self) -> TrialResult:
        """Connect and send the sample until it is acknowledged, for at most TRIAL_SECONDS."""
        deadline = self._clock.monotonic() + TRIAL_SECONDS
        with closing(self._transport):
            while self._clock.monotonic() < deadline:
                for event in self._transport.receive(10, _WAIT_SECONDS):
                    if self._is_acknowledgement(event):
                        self._say_goodbye()
                        return TrialResult("", self._is_same_server)
                if self._transport.connected and self._clock.monotonic() >= self._send_at:
                    self._send()
            self._say_goodbye()
        return TrialResult(self._problem)

    def _is_acknowledgement(self, event: Event) -> bool:
        """Follow an event; return True if it acknowledges the sample."""
        match event:
            case Connected():
                self._problem, self._send_at = "it has accepted the connection, but stored no sample", 0.0
            case Disconnected():
                self._problem = event.reason
            case Message():
                return self._is_stored(event)
        return False

    def _is_stored(self, message: Message) -> bool:
        address = topics.parse(message.topic)
        try:
            if address is not None and address.topic is topics.STATUS and message.payload:
                self._is_same_server |= Status.decode(message.payload).session == self._home_session
            elif address is not None and address.topic is topics.ACK:
                ack = Ack.decode(message.payload)
                for each in ack.rejected:
                    self._problem = f"it rejected the sample: {each.detail or each.reason}"
                return ack.stream == self._stream and any(each.first <= 1 <= each.last for each in ack.ranges)
        except ValidationError:
            self._problem = "its answer could not be read"
        return False

    def _send(self) -> None:
        """Publish the birth and the sample: the same sample each time."""
        self._send_at = self._clock.monotonic() + REPEAT_SECONDS
        self._publish(topics.STATUS, self._status("online", None))
        if self._sample is None:
            vitals, extra = self._readings()
            telemetry = Telemetry(
                seq=1,
                sampled_at=self._clock.now(),
                vitals=vitals,
                extra=extra,
                session=self._session,
                stream=self._stream,
                oldest_seq=1,
            )
            self._sample = self._message(topics.TELEMETRY, telemetry.encode())
        self._transport.publish(self._sample)

    def _say_goodbye(self) -> None:
        if self._transport.connected:
            self._publish(topics.STATUS, self._status("offline", "restarting"))
            self._transport.flush(_GOODBYE_SECONDS)

    def _will(self) -> Message:
        self._session = max(self._session + 1, self._clock.now())
        return self._message(topics.STATUS, self._status("offline", "lost"))

    def _status(self, state: str, reason: OfflineReason | None) -> bytes:
        status = {"state": state, "reason": reason, "session": self._session, "at": self._clock.now()}
        return Status.model_validate({**status, "interval_seconds": self._interval_seconds}).encode()

    def _publish(self, topic: topics.Topic, payload: bytes) -> None:
        self._transport.publish(self._message(topic, payload))

    def _message(self, topic: topics.Topic, payload: bytes) -> Message:
        return Message(topic.at(**self._own), payload, topic.qos, topic.retain)
