"""The agent: one step at a time, it measures, keeps, publishes, and lets go of what the ingestor has stored.

Invariants:
- Sampling never waits for the network: a step waits for it only until the next sample is due.
- Live first: the newest sample is published the moment it is taken; what waits travels in batches, one at a time, the
  next when the ingestor has acknowledged the last. So the ingestor sets the pace and an outage never becomes a storm.
- Samples leave the outbox only by `down/ack`. A PUBACK means nothing here.
- Every connection begins with a session number of its own, in the will, the birth and every message.
- Orders are `agent.orders.executor`'s; here they are received, and their results published.
"""

import hashlib
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pydantic import ValidationError

from agent.collector import Runner
from agent.configuration import Configuration
from agent.inventory import inventory
from agent.orders.executor import Executor
from agent.outbox.backfill_pacing import Resend
from agent.outbox.outbox import SPILL_SECONDS, Batch, Outbox
from agent.session_counter import Sessions
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, Transport, WillMaker
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.messages import (
    EARLIER_STREAMS_MAX,
    EXTRA_MAX,
    Ack,
    Backfill,
    OfflineReason,
    OrgConfig,
    Sample,
    Status,
    Telemetry,
)

EVENTS_AT_ONCE = 100
STEP_SECONDS = 1.0
"""A step lasts so long at most, so that a signal to stop is soon heard."""

LOOK_SECONDS = 5.0
"""The outbox is looked after when a sample was taken or something arrived, and so often in any case."""

FIRST_SAMPLE_SECONDS = 1.0
"""After the start, so that a newcomer sees the machine at once; the CPU's share needs some time to be measured."""

GOODBYE_SECONDS = 3.0

BACKFILL_MAX_BYTES = 128 << 10
"""Half of what the embedded broker lets through (`BrokerSettings.max_packet_bytes`): it would cut off a larger one."""

log = logging.getLogger(__name__)


class OpenTransport(Protocol):
    """Makes the agent's transport."""

    def __call__(self, *, subscriptions: list[tuple[str, int]], will: WillMaker, backoff: Backoff) -> Transport:
        """A transport that is not connected yet."""
        ...


class Agent:
    """The agent of one machine. `now`: wall clock in milliseconds; `monotonic`: seconds that never step."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        open_transport: OpenTransport,
        outbox: Outbox,
        runner: Runner,
        sessions: Sessions,
        now: Callable[[], int],
        monotonic: Callable[[], float],
        executor: Executor | None = None,
    ) -> None:
        self.leaving = False
        """Whether it wants to be stopped and begun again, in another process."""
        self.rejected = 0
        """Messages from the broker that could not be read."""
        self._settings = settings if executor is None else executor.configuration.settings
        self._executor = executor
        self._revision = 0
        self._goodbye: OfflineReason = "stopped"
        self._announced: object = None
        self._open_transport = open_transport
        self._outbox = outbox
        self._runner = runner
        self._sessions = sessions
        self._now = now
        self._monotonic = monotonic
        self._backoff = Backoff()
        self._last_reason = ""
        self._own = {"org": settings.org, "machine": settings.machine}
        self._grid = monotonic() + _phase(self._settings)
        self._next_sample = monotonic() + min(FIRST_SAMPLE_SECONDS, self._settings.interval_seconds)
        self._look_at = monotonic()
        self._live: deque[tuple[int, float]] = deque()
        self._resend = Resend(monotonic)
        self._measure_as_configured()
        self._transport = self._connection()

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._transport.connected

    def step(self) -> None:
        """Take a sample if one is due, handle what arrived until the next is, and send what waits."""
        if self._monotonic() >= self._next_sample:
            self._sample()
        events = self._transport.receive(EVENTS_AT_ONCE, self._wait())
        for event in events:
            self._handle(event)
        self._act()
        if events or self._monotonic() >= min(self._look_at, self._resend.due_at):
            self._look_after_the_outbox()

    def stop(self, reason: OfflineReason | None = None) -> None:
        """Say goodbye, so that nobody has to guess, and put what waits on disk. Without a reason: what was expected."""
        if self.connected:
            self._publish(topics.STATUS, self._status("offline", reason or self._goodbye))
            self._transport.flush(GOODBYE_SECONDS)
        self._transport.close()
        self._outbox.close()
        if self._executor is not None:
            self._executor.close()

    # What an action may ask for: `agent.orders.action_thread.Host`.

    def sample_now(self) -> int:
        """Take a sample and publish it; its number."""
        self._sample()
        return self._outbox.next_seq - 1

    def leave(self, reason: OfflineReason) -> None:
        """End, with this reason in the goodbye, and begin again."""
        self.leaving, self._goodbye = True, reason

    def expect(self, reason: OfflineReason) -> None:
        """Give this reason in the goodbye."""
        self._goodbye = reason

    def _connection(self) -> Transport:
        topics_read = [topics.ACK, topics.STATUS, *((topics.COMMAND, topics.CONFIG) if self._executor else ())]
        return self._open_transport(
            subscriptions=[
                *((topic.at(**self._own), topic.qos) for topic in topics_read),
                (topics.ORG_CONFIG.at(org=self._settings.org), topics.ORG_CONFIG.qos),
            ],
            will=self._will,
            backoff=self._backoff,
        )

    def _wait(self) -> float:
        """How long nothing is due."""
        due_at = min(self._next_sample, self._resend.due_at)
        if self._executor is not None:
            due_at = min(due_at, self._executor.due_at)
        return max(0.0, min(STEP_SECONDS, due_at - self._monotonic()))

    def _act(self) -> None:
        """Let actions go on, publish what there is to say of them, and follow what they changed."""
        if self._executor is None:
            return
        for result in self._executor.step(self, connected=self.connected):
            self._publish(topics.RESULT, result.model_copy(update={"session": self._sessions.current}).encode())
        if self._executor.configuration.revision != self._revision:
            self._reconfigure(self._executor.configuration)
        elif self.connected and self._announced != self._to_announce():
            self._publish_info()

    def _reconfigure(self, configuration: Configuration) -> None:
        """Measure as is configured now, and connect anew, which proves that it can."""
        self._revision, self._settings = configuration.revision, configuration.settings
        self._measure_as_configured()
        self._grid = self._monotonic() + _phase(self._settings)
        self._next_sample = min(self._next_sample, self._after(self._monotonic()))
        self._transport.close()
        self._live.clear()
        self._resend.connection_lost()
        self._transport = self._connection()

    def _measure_as_configured(self) -> None:
        if self._executor is not None:
            self._runner.off = self._executor.configuration.collectors_off

    def _to_announce(self) -> object:
        """What can change within a connection of what `info` says."""
        return self._executor and (self._executor.keys.ids, self._executor.configuration.version)

    def _sample(self) -> None:
        self._next_sample = self._after(self._monotonic())  # from the beginning: a slow collector skips no sample
        vitals, extra = self._runner.collect()
        sample = self._outbox.append(self._now(), vitals, extra)
        self._look_at = self._monotonic()
        if self.connected and self._publish_live(sample):
            self._live.append((sample.seq, self._monotonic()))

    def _after(self, moment: float) -> float:
        """The next point of the machine's own grid, at least a quarter of an interval away."""
        interval = self._settings.interval_seconds
        return self._grid + math.ceil((moment - self._grid) / interval + 0.25) * interval

    def _publish_live(self, sample: Sample) -> bool:
        telemetry = Telemetry(
            seq=sample.seq,
            sampled_at=sample.sampled_at,
            vitals=sample.vitals,
            extra=sample.extra,
            session=self._sessions.current,
            stream=self._outbox.stream,
            oldest_seq=self._outbox.oldest_seq,
            dropped=self._outbox.dropped,
        )
        return self._publish(topics.TELEMETRY, telemetry.encode())

    def _handle(self, event: Event) -> None:
        match event:
            case Connected():
                self._be_born(event)
            case Disconnected():
                self._live.clear()
                self._resend.connection_lost()
                self._tell(event.reason)
            case Message():
                try:
                    self._take(event)
                except ValidationError as error:
                    self.rejected += 1
                    log.warning("ignored a message on %s: %s", event.topic, error.errors(include_input=False)[0]["msg"])

    def _tell(self, reason: str) -> None:
        """Log why there is no connection, once for as long as the reason stays the same."""
        log.log(logging.DEBUG if reason == self._last_reason else logging.WARNING, "not connected: %s", reason)
        self._last_reason = reason

    def _be_born(self, event: Connected) -> None:
        log.info("connected, session %s", self._sessions.current)
        self._last_reason = ""
        if event.refused:
            log.error("the broker refused these subscriptions: %s", ", ".join(event.refused))
        self._publish(topics.STATUS, self._status("online"))
        if self._executor is not None:
            self._executor.connected()
        self._publish_info()

    def _publish_info(self) -> None:
        self._announced = self._to_announce()
        info = inventory(
            self._settings,
            session=self._sessions.current,
            stream=self._outbox.stream,
            now=self._now(),
            metrics=self._runner.metrics,
            earlier_streams=self._outbox.earlier_streams(EARLIER_STREAMS_MAX),
            collectors=self._runner.names,
            collectors_off=tuple(sorted(self._runner.off)),
            **({} if self._executor is None else self._executor.facts()),
        )
        self._publish(topics.INFO, info.encode())

    def _take(self, message: Message) -> None:
        address = topics.parse(message.topic)
        if address is None:
            return
        if address.topic is topics.ACK:
            self._let_go(Ack.decode(message.payload))
        elif address.topic is topics.ORG_CONFIG:
            self._obey(OrgConfig.decode(message.payload))
        elif address.topic is topics.COMMAND and self._executor is not None:
            self._executor.take(message.payload)
        elif address.topic is topics.CONFIG and self._executor is not None and message.payload:
            self._executor.take_desired(message.payload)
        elif address.topic is topics.STATUS and message.payload:
            self._contradict(Status.decode(message.payload), superseded=message.retain)

    def _let_go(self, ack: Ack) -> None:
        if ack.stream is not None:
            self._outbox.ack(ack.stream, ack.ranges)
        if self._executor is not None:
            self._executor.acked(ack.results)
        self._resend.acked(ack)

    def _obey(self, config: OrgConfig) -> None:
        self._backoff.first_seconds = config.reconnect_spread_seconds
        if self._executor is not None:
            self._executor.keys.follow(config.key_changes, self._now())

    def _contradict(self, status: Status, *, superseded: bool) -> None:
        """Say that this machine lives when its retained status says otherwise.

        A will may come late. A status of a session to come is this machine's own from before it lost its state, or a
        clone's; a lower session would be ignored, so this one goes beyond it.
        """
        if status.session > self._sessions.current:
            self._sessions.go_beyond(status.session)
            self._sessions.next()
        elif status.state == "online" or (superseded and status.session < self._sessions.current):
            return  # all is well, or this connection's birth has just replaced it
        log.warning("the retained status of this machine was not its own or too late: saying otherwise")
        self._publish(topics.STATUS, self._status("online"))

    def _look_after_the_outbox(self) -> None:
        self._look_at = self._monotonic() + LOOK_SECONDS
        self._spill()
        if self.connected:
            self._backfill()

    def _spill(self) -> None:
        """Put on disk what the ingestor has not acknowledged in time."""
        if not self.connected:
            self._outbox.spill()
            return
        while self._live and self._monotonic() - self._live[0][1] > SPILL_SECONDS:
            self._live.popleft()
        self._outbox.spill(before_seq=self._live[0][0] if self._live else None)

    def _backfill(self) -> None:
        """Send the oldest samples that wait and were not just published live, when no batch is on its way."""
        if not self._resend.may_send():
            return
        batch = self._outbox.batch(self._resend.limit, before_seq=self._live[0][0] if self._live else None)
        if batch is None:
            return
        samples, payload = self._pack(batch)
        if self._publish(topics.BACKFILL, payload):
            self._resend.sent(batch.stream, samples[-1].seq)

    def _pack(self, batch: Batch) -> tuple[list[Sample], bytes]:
        """As many of a batch's samples as one message can carry, and that message."""
        samples = batch.samples
        while True:
            names = {name for sample in samples for name in sample.extra}
            if len(names) <= EXTRA_MAX:
                payload = Backfill.of(
                    samples,
                    session=self._sessions.current,
                    stream=batch.stream,
                    oldest_seq=batch.oldest_seq,
                    dropped=batch.dropped,
                ).encode()
                if len(payload) <= BACKFILL_MAX_BYTES or len(samples) == 1:
                    return samples, payload
            samples = samples[: len(samples) // 2]

    def _publish(self, topic: topics.Topic, payload: bytes) -> bool:
        return self._transport.publish(Message(topic.at(**self._own), payload, topic.qos, topic.retain))

    def _will(self) -> Message:
        self._sessions.next()
        payload = self._status("offline", "lost")
        return Message(topics.STATUS.at(**self._own), payload, topics.STATUS.qos, topics.STATUS.retain)

    def _status(self, state: str, reason: OfflineReason | None = None) -> bytes:
        return Status.model_validate(
            {
                "state": state,
                "reason": reason,
                "session": self._sessions.current,
                "at": self._now(),
                "interval_seconds": self._settings.interval_seconds,
            }
        ).encode()


def _phase(settings: AgentSettings) -> float:
    """The machine's own place within the interval, so that a fleet's samples are spread evenly over it."""
    digest = hashlib.sha256(f"{settings.org}.{settings.machine}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32 * min(settings.interval_seconds, 60.0)
