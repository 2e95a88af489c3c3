"""The messages of one agent during a run: received, judged as they come, and acknowledged as the ingestor would.

Invariants:
- What was sent before an acknowledgement arrived is no violation: a repetition counts only after `GRACE_SECONDS` of the
  time that the agent has had.
- A violation is recorded under one assertion: a message that cannot be decoded is judged no further.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from broker.client.transport import Message, Transport
from broker.conformance import assertions
from broker.conformance.agent_time import AgentTime
from broker.conformance.report import ConformanceReport
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.ack import Ack, Range, Rejection
from schemas.contract.backfill import Backfill
from schemas.contract.commands import Result
from schemas.contract.facts import FactsMessage
from schemas.contract.files.transfer import Fetch, Upload
from schemas.contract.messages import Info, Payload, Sample, Status, Telemetry
from schemas.contract.topics import Topic

GRACE_SECONDS = 2.0
DOUBT_SECONDS = 10.0
PUMP_SECONDS = 0.1

UPWARD: dict[Topic, type[Payload]] = {
    topics.STATUS: Status,
    topics.INFO: Info,
    topics.FACTS: FactsMessage,
    topics.TELEMETRY: Telemetry,
    topics.BACKFILL: Backfill,
    topics.RESULT: Result,
    topics.FETCH: Fetch,
    topics.UPLOAD: Upload,
}

Key = tuple[str, int]
"""A stream and a number."""


@dataclass
class SampleLog:
    """The samples of an agent by stream and number: content, and when each was acknowledged or rejected."""

    content: dict[Key, tuple[object, ...]] = field(default_factory=dict)
    answered: dict[Key, tuple[float, bool]] = field(default_factory=dict)
    """The time of the answer, and whether it was a rejection."""
    last_live: Key | None = None
    batch: list[Key] = field(default_factory=list)
    """The numbers of the Backfill that waits for its acknowledgement."""

    def reconnected(self, now: float) -> None:
        """Forget what a new connection changes: the last live number, and answers shortly before that may be lost."""
        self.last_live = None
        for key, (at, rejected) in self.answered.items():
            if now - at < DOUBT_SECONDS:
                self.answered[key] = (math.inf, rejected)

    def waiting(self, stream: str) -> list[int]:
        """Return the numbers of a stream that were heard and not answered, in order."""
        return sorted(seq for name, seq in self.content if name == stream and (name, seq) not in self.answered)


class AgentTraffic:
    """Receives the messages of one machine. `plays_ingestor`: whether the run answers samples and results."""

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        report: ConformanceReport,
        *,
        org: str,
        machine: str,
        plays_ingestor: bool,
    ) -> None:
        self.statuses: list[Status] = []
        self.infos: list[Info] = []
        self.backfills: list[Backfill] = []
        self.results: list[Result] = []
        self.retained: set[Topic] = set()
        """Topics of which a retained message was received."""
        self.samples = SampleLog()
        self.live = 0
        self.session = 0
        self.acknowledges_samples = plays_ingestor
        self.acknowledges_results = plays_ingestor
        self._plays_ingestor = plays_ingestor
        self._births: set[int] = set()
        self._early: list[tuple[int, str]] = []
        """Session and kind of messages whose birth has not arrived yet."""
        self._own_qos: dict[Topic, int] = {}
        """The QoS with which the run's own, empty messages were delivered."""
        self._qos: dict[Topic, set[int]] = {}
        self._acked_results: dict[str, float] = {}
        self._highest_session = 0
        self._transport = transport
        self._clock, self._time = clock, AgentTime(clock)
        self._report = report
        self._levels = {"org": org, "machine": machine}

    def subscriptions(self) -> list[tuple[str, int]]:
        """Return the filters of everything that the agent publishes."""
        return [(topic.filter(**self._levels), 1) for topic in UPWARD]

    def forget_connection(self, *, with_sessions: bool = False) -> None:
        """Forget what an earlier connection of the agent has left, except that its session is the highest.

        `with_sessions`: that, too, because an agent may keep its session together with what it has lost.
        """
        if with_sessions:
            self._highest_session = 0
        self.statuses.clear()
        self.infos.clear()
        self.session = 0

    def read_retained(self) -> None:
        """Request the retained messages of Status and Info."""
        self.retained.clear()
        self._transport.reread([(topic.at(**self._levels), 1) for topic in (topics.STATUS, topics.INFO)])

    def send(self, topic: Topic, payload: bytes, *, retain: bool | None = None) -> None:
        """Publish to the agent, as the ingestor."""
        name = topic.filter(**self._levels)
        message = Message(name, payload, topic.qos, topic.retain if retain is None else retain)
        self.wait_for(lambda: self._transport.publish(message), 10.0)

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Receive until a condition holds; return False when the time has passed."""
        deadline = self._clock.monotonic() + seconds
        while not condition():
            if self._clock.monotonic() >= deadline:
                return False
            for event in self._transport.receive(100, PUMP_SECONDS):
                if isinstance(event, Message):
                    self._handle(event)
        return True

    def listen(self, seconds: float) -> None:
        """Receive for a time."""
        self.wait_for(lambda: False, seconds)

    def judge_qos(self) -> None:
        """Judge the QoS of samples and results, where the broker delivers an empty message of QoS 1 with QoS 1.

        NATS delivers some subscriptions with QoS 0, whatever the messages had.
        """
        for topic in (topics.TELEMETRY, topics.RESULT):
            if 0 in self._qos.get(topic, ()):
                self.send(topic, b"")
                self.wait_for(lambda topic=topic: topic in self._own_qos, GRACE_SECONDS)  # type: ignore[misc]
            is_kept = self._own_qos.get(topic) == 1
            if found := self._qos.get(topic):
                holds = 0 not in found or not is_kept
                self._report.check(assertions.QOS, holds, f"{topic.at(**self._levels)}: QoS 0")

    def of_order(self, id_: str) -> list[Result]:
        """Return the results of an order, in the order of their arrival."""
        return [result for result in self.results if result.id == id_]

    def acknowledge_waiting(self) -> None:
        """Acknowledge every sample that was heard."""
        for stream in {name for name, _ in self.samples.content}:
            self._acknowledge(stream, self.samples.waiting(stream))

    def reject(self, stream: str, seq: int) -> None:
        """Answer a sample as rejected."""
        self.samples.answered[stream, seq] = (self._time.seconds, True)
        rejection = Rejection(
            topic=topics.TELEMETRY.at(**self._levels),
            stream=stream,
            ranges=(Range(first=seq, last=seq),),
            reason="invalid",
            detail="rejected by dashfleet conform",
        )
        self.send(topics.ACK, Ack(rejected=(rejection,)).encode())

    def acknowledge_result(self, id_: str) -> None:
        """Acknowledge a final result."""
        self._acked_results.setdefault(id_, self._time.seconds)
        self.send(topics.ACK, Ack(results=(id_,)).encode())

    def _handle(self, message: Message) -> None:
        address = topics.parse(message.topic)
        if address is None or address.topic not in UPWARD:
            return
        self._time.heard(self.statuses[-1].interval_seconds if self.statuses else 0.0)
        if not message.payload:
            self._own_qos[address.topic] = message.qos
            return
        try:
            payload = UPWARD[address.topic].decode(message.payload)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            self._report.fail(assertions.VALID, f"{message.topic}: {place}: {error.errors()[0]['msg']}")
            return
        self._report.check(assertions.VALID, holds=True, detail="")
        if message.retain:
            self.retained.add(address.topic)
        self._qos.setdefault(address.topic, set()).add(message.qos)
        match payload:
            case Status():
                self._handle_status(payload, retained=message.retain)
            case Info():
                self.infos.append(payload)
                self._check_session(payload.session, "Info", retained=message.retain)
            case Telemetry():
                self._handle_live(payload)
            case Backfill():
                self._handle_backfill(payload)
            case Result():
                self._handle_result(payload)

    def _handle_status(self, status: Status, *, retained: bool) -> None:
        if not retained or not self.statuses:
            self.statuses.append(status)
        is_goodbye = status.state == "offline" and status.reason != "lost"
        detail = f"the Status {status.state}, reason {status.reason}, says it"
        self._report.check(assertions.RETIRING, is_goodbye or not status.retiring, detail)
        if status.state == "online" and not retained and status.session < self._highest_session:
            self._report.fail(
                assertions.SESSION_RISES, f"session {status.session} after session {self._highest_session}"
            )
        if status.state == "online" and (not retained or not self.session):
            if status.session != self.session:
                self.samples.reconnected(self._time.seconds)
            self.session = status.session
            self._births.add(status.session)
            self.judge_early()
            self._highest_session = max(self._highest_session, status.session)

    def _check_session(self, session: int, what: str, *, retained: bool = False) -> None:
        """Compare a session with that of the birth, or of the next birth: brokers reorder messages of two topics."""
        if not self.session or retained:
            return
        if session > self.session:
            self._early.append((session, what))
        else:
            detail = f"{what} has the session {session}, the birth {self.session}"
            self._report.check(assertions.ONE_SESSION, session in self._births, detail)

    def judge_early(self) -> None:
        """Compare the messages that came before a birth with the newest one."""
        early, self._early = self._early, []
        for session, what in early:
            detail = f"{what} has the session {session}, the birth {self.session}"
            self._report.check(assertions.ONE_SESSION, session == self.session, detail)

    def _handle_live(self, sample: Telemetry) -> None:
        self.live += 1
        self._check_session(sample.session, "Telemetry")
        key, log = (sample.stream, sample.seq), self.samples
        if key not in log.content:
            self._check_number(sample)
            self._check_oldest(sample)
            log.last_live = key
        if self.infos:
            described = {metric.name for metric in self.infos[-1].metrics}
            missing = sorted(sample.extra.keys() - described)
            self._report.check(assertions.DESCRIBED, not missing, f"Info does not describe {', '.join(missing)}")
        self._note(sample.stream, sample)
        if self.acknowledges_samples:
            self._acknowledge(sample.stream, [sample.seq])

    def _check_number(self, sample: Telemetry) -> None:
        last = self.samples.last_live
        if last is not None and last[0] == sample.stream:
            detail = f"number {sample.seq} follows {last[1]}"
            self._report.check(assertions.NUMBERS, sample.seq == last[1] + 1, detail)

    def _check_oldest(self, sample: Telemetry) -> None:
        """Compare `oldest_seq` with what the run has answered, long enough ago to be known to the agent."""
        if not self._plays_ingestor:  # the answers of another ingestor are not known
            return
        log, now = self.samples, self._time.seconds
        waiting = [*log.waiting(sample.stream), sample.seq]
        smallest, key = min(waiting), (sample.stream, sample.oldest_seq)
        at, _ = log.answered.get(key, (now, False))
        is_known = now - at > GRACE_SECONDS  # long enough ago for the agent to know; what was never heard may wait
        detail = f"oldest_seq {sample.oldest_seq}, although {smallest} waits" + " and it is acknowledged" * is_known
        holds = sample.oldest_seq <= smallest and not is_known
        self._report.check(assertions.OLDEST, holds, detail)

    def _handle_backfill(self, backfill: Backfill) -> None:
        self.backfills.append(backfill)
        self._check_session(backfill.session, "Backfill")
        keys = [(backfill.stream, seq) for seq in backfill.seq]
        waiting = self.samples.batch
        if waiting:
            detail = f"a Backfill from number {keys[0][1]}, while that from {waiting[0][1]} waits"
            self._report.check(assertions.ONE_BATCH, keys[0] in waiting, detail)
        for sample in backfill.samples():
            self._note(backfill.stream, sample)
        if self.acknowledges_samples:
            self._acknowledge(backfill.stream, backfill.seq)
        else:
            self.samples.batch = keys

    def _note(self, stream: str, sample: Sample) -> None:
        key, log, now = (stream, sample.seq), self.samples, self._time.seconds
        vitals = sample.vitals.model_dump(exclude_none=True)
        extra = {name: value for name, value in sample.extra.items() if value is not None}
        content = (sample.sampled_at, vitals, extra)
        if key in log.content:
            detail = f"number {sample.seq} of stream {stream} has another content than before"
            self._report.check(assertions.SAME_CONTENT, log.content[key] == content, detail)
        at, rejected = log.answered.get(key, (now, False))
        if now - at > GRACE_SECONDS and log.content.get(key) == content:
            assertion = assertions.REJECTED if rejected else assertions.ACKED
            self._report.fail(assertion, f"number {sample.seq} was sent again {now - at:.0f} s after its answer")
        log.content.setdefault(key, content)

    def _acknowledge(self, stream: str, numbers: Iterable[int]) -> None:
        now, log, new = self._time.seconds, self.samples, sorted(numbers)
        if not new:
            return
        for seq in new:
            log.answered.setdefault((stream, seq), (now, False))
        log.batch = [key for key in log.batch if key not in log.answered]
        ranges = tuple(Range(first=seq, last=seq) for seq in new)
        for start in range(0, len(ranges), 500):
            self.send(topics.ACK, Ack(stream=stream, ranges=ranges[start : start + 500]).encode())

    def _handle_result(self, result: Result) -> None:
        self.results.append(result)
        self._check_session(result.session, "Result")
        if result.state == "running":
            return
        acked_at, now = self._acked_results.get(result.id), self._time.seconds
        if acked_at is not None and now - acked_at > GRACE_SECONDS and not self._is_asked_again(result.id):
            self._report.fail(assertions.RESULT_ACKED, f"the Result of {result.id} came {now - acked_at:.0f} s later")
        if self.acknowledges_results:
            self.acknowledge_result(result.id)

    def expect_answer(self, id_: str) -> None:
        """Note that an order was sent again, so that its result is an answer and no repetition."""
        self._acked_results.pop(id_, None)

    def _is_asked_again(self, id_: str) -> bool:
        return id_ not in self._acked_results
