"""The agent: in each step it samples, queues, publishes, and deletes what the ingestor has acknowledged.

Invariants:
- Sampling never waits for the network: a step waits for it only until the next sample is due.
- Nor does it wait for readings of devices, which are taken beside it (`agent.collection.detail_runner`).
- Samples leave the outbox only by `down/ack`, as stored or as rejected. A PUBACK means nothing here.
- Every connection begins with a new session number, which is in the will, the birth and every message.
- Orders belong to `agent.orders.executor`; here they are received, and their results published.
"""

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pydantic import ValidationError

from agent.activity_log import ActivityLog, rejection_words
from agent.collection.announcement import Announcement
from agent.collection.detail_runner import DetailRunner
from agent.collection.live_readings import LiveReadings
from agent.collection.sample_runner import CollectorRunner
from agent.configuration import Configuration
from agent.inventory import inventory
from agent.orders.executor import Executor
from agent.outbox.delivery import SampleDelivery
from agent.outbox.sample_queue import SampleQueue
from agent.own_messages import OwnMessages
from agent.relocation.departure import Departure
from agent.sample_schedule import SampleSchedule
from agent.session_counter import SessionCounter
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, Transport, WillMaker
from runtime.clock import Clock
from runtime.rate_limited_log import RateLimitedLog
from runtime.settings.agent import AgentSettings
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.messages import Extra, Info, OfflineReason, Status, Vitals
from schemas.contract.org_config import OrgConfig

EVENTS_AT_ONCE = 100
STEP_SECONDS = 1.0
"""Longest duration of a step, so that a signal to stop is noticed soon."""

OUTBOX_SECONDS = 5.0
"""The outbox is spilled and backfilled after each sample and each event, and at this interval in any case."""

GOODBYE_SECONDS = 3.0

log = logging.getLogger(__name__)


class OpenAgentTransport(Protocol):
    """Creates the agent's transport."""

    def __call__(self, *, subscriptions: list[tuple[str, int]], will: WillMaker, backoff: Backoff) -> Transport:
        """Return a transport that is not connected yet."""


class Agent:
    """The agent of one machine. Without an executor it takes no orders."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        open_transport: OpenAgentTransport,
        outbox: SampleQueue,
        runner: CollectorRunner,
        sessions: SessionCounter,
        clock: Clock,
        executor: Executor | None = None,
        details: DetailRunner | None = None,
        live: LiveReadings | None = None,
        describe: Callable[..., Info] = inventory,
    ) -> None:
        self.restarting = False
        """Set when the agent is to stop and to be started again, in another process."""
        self.rejected = 0
        """Number of messages from the broker that could not be decoded."""
        self.rejected_samples = 0
        """Number of own samples that the ingestor rejected, and that were therefore deleted."""
        self._settings = settings if executor is None else executor.configuration.settings
        self._executor, self._revision = executor, 0
        self._stop_reason: OfflineReason = "stopped"
        self._open_transport = open_transport
        self._outbox, self._runner = outbox, runner
        self._details, self._live = details, live
        self._announcement = Announcement(
            describe, runner, outbox, details=details, executor=executor, live=live is not None
        )
        self._sessions, self._clock = sessions, clock
        self._backoff, self._last_problem = Backoff(), ""
        self._rejection_log = RateLimitedLog(log, monotonic=clock.monotonic)
        self._own = OwnMessages(self._settings, sessions, clock)
        self._schedule = SampleSchedule(self._settings, clock)
        self._outbox_due_at = clock.monotonic()
        self._delivery = SampleDelivery(outbox, sessions, clock, self._publish, compress=settings.compress_series)
        self._departure = Departure(self._delivery, executor, clock)
        self._activity = ActivityLog(self._counts, clock)
        self._configure_collectors()
        self._transport = self._new_transport()

    @property
    def connected(self) -> bool:
        """True while the broker is connected."""
        return self._transport.connected

    @property
    def due_at(self) -> float:
        """When `step` has something to do if nothing arrives before, in seconds of the monotonic clock."""
        due_at = min(self._schedule.due_at, self._delivery.due_at)
        if self._live is not None:
            due_at = min(due_at, self._live.due_at)
        if self._details is not None:
            due_at = min(due_at, self._details.next_step_at(self._schedule.due_at))
        if self._executor is not None:
            due_at = min(due_at, self._executor.due_at)
        return due_at

    def step(self) -> None:
        """Sample if that is due, handle events until the next sample is due, and send waiting samples."""
        if self._clock.monotonic() >= self._schedule.due_at:
            self.sample()
        events = self._transport.receive(EVENTS_AT_ONCE, self._wait_seconds())
        for event in events:
            self._handle(event)
        self._step_executor()
        self._step_details()
        self._step_live()
        if self.connected and self._announcement.is_due:
            self._publish_info()
        if events or self._clock.monotonic() >= min(self._outbox_due_at, self._delivery.due_at):
            self._outbox_due_at = self._clock.monotonic() + OUTBOX_SECONDS
            self._delivery.spill(connected=self.connected)
            if self.connected and not self._departure.begun:
                self._delivery.backfill()
            self._activity.step()
        if self._departure.over:
            self.restart("stopped")

    def stop(self, reason: OfflineReason | None = None) -> None:
        """Publish the goodbye and write the outbox to disk. The default reason is the last of `set_stop_reason`."""
        if self.connected:
            self._transport.publish(self._own.status("offline", reason or self._stop_reason))
            self._transport.flush(GOODBYE_SECONDS)
        self._transport.close()
        self._outbox.close()
        if self._executor is not None:
            self._executor.close()
        self._activity.write()

    # `agent.action.ActionHost`.

    def sample(self) -> int:
        """Take a sample, publish it if the broker is connected, and return its sequence number."""
        self._schedule.advance()  # before collecting: a slow collector skips no sample
        vitals, extra = self._runner.collect()
        series = {} if self._details is None else self._details.take()
        sample = self._outbox.append(self._clock.now(), vitals, extra, series)
        self._outbox_due_at = self._clock.monotonic()
        if self.connected:
            self._delivery.send_live(sample)
        return sample.seq

    def hold_samples(self) -> None:
        """Take no more samples: what waits can still be sent."""
        self._schedule.hold()

    def restart(self, reason: OfflineReason) -> None:
        """Stop with this reason in the goodbye, and start again."""
        self.restarting, self._stop_reason = True, reason

    def set_stop_reason(self, reason: OfflineReason) -> None:
        """Set the reason that a later goodbye gives."""
        self._stop_reason = reason

    def readings(self) -> tuple[Vitals, Extra]:
        """Take readings for a sample that is not the outbox's."""
        return self._runner.collect()

    @property
    def session(self) -> int:
        """Session number of the present connection, 0 before the first."""
        return self._sessions.current

    def leave(self) -> None:
        """Take no more samples, and start again when the server has acknowledged what was sent, or after a while."""
        self.hold_samples()
        self._departure.begin()

    def _new_transport(self) -> Transport:
        read = [topics.ACK, topics.STATUS, *((topics.COMMAND, topics.CONFIG, topics.CHUNK) if self._executor else ())]
        read += [topics.WATCH] if self._live else []
        read += [topics.RECEIPT] if self._executor and self._settings.pull_directories else []
        return self._open_transport(
            subscriptions=self._own.subscriptions(*read, topics.ORG_CONFIG),
            will=self._own.will,
            backoff=self._backoff,
        )

    def _wait_seconds(self) -> float:
        return max(0.0, min(STEP_SECONDS, self.due_at - self._clock.monotonic()))

    def _step_executor(self) -> None:
        """Let actions continue, publish their results and requests for files, and follow what they changed."""
        if self._executor is None:
            return
        for result in self._executor.step(self, connected=self.connected):
            self._publish(topics.RESULT, result.model_copy(update={"session": self._sessions.current}).encode())
        for topic, payload in self._executor.transfers.step(connected=self.connected):
            self._publish(topic, payload)
        if self._executor.configuration.revision != self._revision:
            self._reconfigure(self._executor.configuration)

    def _step_details(self) -> None:
        """Read devices a little before the sample that carries them, and publish lists that have changed."""
        if self._details is None:
            return
        self._details.step(self._schedule.due_at)
        if self.connected:
            self._details.publish_facts(
                self._sessions.current, lambda kind, payload: self._publish(topics.FACTS, payload, kind=kind)
            )

    def _step_live(self) -> None:
        """Publish live readings while a lease lasts, after the sample that is due."""
        if self._live is not None:
            publish = partial(self._publish, topics.LIVE) if self.connected else None
            self._live.step(self._sessions.current, publish)

    def _reconfigure(self, configuration: Configuration) -> None:
        """Apply the configuration, and reconnect, which proves that the agent can connect with it."""
        self._revision, self._settings = configuration.revision, configuration.settings
        self._own.interval_seconds = self._settings.interval_seconds
        self._configure_collectors()
        self._schedule.reconfigure(self._settings)
        self._transport.close()
        self._delivery.connection_lost()
        self._transport = self._new_transport()

    def _configure_collectors(self) -> None:
        if self._executor is not None:
            self._runner.off = self._executor.configuration.collectors_off
        if self._details is not None:
            self._details.off = self._runner.off
            self._details.reconfigure(self._settings)
        if self._live is not None:
            self._live.off = self._runner.off

    def _counts(self) -> Counter[str]:
        counts = Counter({"messages rejected": self.rejected, "samples rejected": self.rejected_samples})
        failures = self._runner.failures + (Counter() if self._details is None else self._details.failures)
        counts.update({f"failures of {name}": number for name, number in failures.items()})
        if self._executor is not None:
            counts.update({f"orders {reason}": number for reason, number in self._executor.counts.items()})
        return counts

    def _handle(self, event: Event) -> None:
        match event:
            case Connected():
                self._publish_birth(event)
            case Disconnected():
                self._delivery.connection_lost()
                self._log_problem(event.reason)
            case Message():
                try:
                    self._handle_message(event)
                except ValidationError as error:
                    self.rejected += 1
                    log.warning(
                        "rejected a message on %s: %s", event.topic, error.errors(include_input=False)[0]["msg"]
                    )

    def _log_problem(self, reason: str) -> None:
        """Log why there is no connection, once until the reason changes."""
        log.log(logging.DEBUG if reason == self._last_problem else logging.WARNING, "not connected: %s", reason)
        self._last_problem = reason

    def _publish_birth(self, event: Connected) -> None:
        log.info("connected, session %s", self._sessions.current)
        self._last_problem = ""
        if event.refused:
            log.error("the broker refused these subscriptions: %s", ", ".join(event.refused))
        self._transport.publish(self._own.status("online"))
        if self._executor is not None:
            self._executor.connected()
        if self._details is not None:
            self._details.connected()
        self._publish_info()

    def _publish_info(self) -> None:
        info = self._announcement.encode(self._settings, session=self._sessions.current, at=self._clock.now())
        self._publish(topics.INFO, info)

    def _handle_message(self, message: Message) -> None:
        address = topics.parse(message.topic)
        if address is None:
            return
        if address.topic is topics.ACK:
            self._handle_ack(Ack.decode(message.payload))
        elif address.topic is topics.ORG_CONFIG:
            self._handle_org_config(OrgConfig.decode(message.payload))
        elif address.topic is topics.COMMAND and self._executor is not None:
            self._executor.handle_command(message.payload)
        elif address.topic in (topics.CHUNK, topics.RECEIPT) and self._executor is not None:
            self._executor.transfers.handle(address.topic, message.payload)
        elif address.topic is topics.CONFIG and self._executor is not None and message.payload:
            self._executor.handle_desired(message.payload)
        elif address.topic is topics.WATCH and self._live is not None:
            self._live.handle(message)
        elif address.topic is topics.STATUS and message.payload:
            self._correct(Status.decode(message.payload), superseded=message.retain)

    def _handle_ack(self, ack: Ack) -> None:
        if ack.stream is not None:
            self._outbox.ack(ack.stream, ack.ranges)
        for each in ack.rejected:
            if each.stream is not None:
                self.rejected_samples += self._outbox.reject(each.stream, each.ranges)
            self._rejection_log.warning(each.reason, "the ingestor rejected %s (%s): %s", *rejection_words(each))
        if self._executor is not None:
            self._executor.acked(ack.results)
        self._delivery.acked(ack)

    def _handle_org_config(self, config: OrgConfig) -> None:
        self._backoff.first_seconds = config.reconnect_spread_seconds
        if self._executor is not None:
            self._executor.keys.apply(config.key_changes, self._clock.now())

    def _correct(self, status: Status, *, superseded: bool) -> None:
        """Publish the birth again when the retained status of this machine says that it is offline.

        A will may arrive late. A status with a higher session is this machine's own from before it lost its state, or
        a clone's; as a lower session would be ignored, the next number exceeds it.
        """
        if status.session > self._sessions.current:
            self._sessions.exceed(status.session)
            self._sessions.next()
        elif status.state == "online" or (superseded and status.session < self._sessions.current):
            return  # correct, or just replaced by the birth of this connection
        log.warning("the retained status of this machine was not its own or too late: publishing it again")
        self._transport.publish(self._own.status("online"))

    def _publish(self, topic: topics.Topic, payload: bytes, **levels: str) -> bool:
        return self._transport.publish(self._own.on(topic, payload, **levels))
