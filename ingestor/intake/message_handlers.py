"""From messages to one batch of what the database has to learn.

Invariants:
- A message is read whole or set aside whole: rejected with its topic, a reason and the first 4 KiB, and counted.
- Nothing here writes to the database or the broker; what a batch holds is stored in one transaction or not at all.
- A sample that the ledger has is not stored again; it is acknowledged again.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from broker.client.transport import Message
from ingestor.alerts.engine import Alert
from ingestor.domain.command_changes import Changes
from ingestor.domain.incidents import Incident
from ingestor.domain.machine import (
    CLOCK_TOLERANCE_MILLISECONDS,
    RANGES_MAX,
    Latest,
    Machine,
    Stream,
    TooManyError,
    within_tolerance,
)
from ingestor.domain.presence import PresenceState, on_live, on_status
from schemas.contract import topics
from schemas.contract.commands import Result
from schemas.contract.messages import Backfill, Info, OrgConfig, Sample, Status, Telemetry
from schemas.contract.topics import Address, Topic
from schemas.fleet.health import health

PAYLOAD_MAX_BYTES = 256 << 10
PAYLOAD_KEPT_BYTES = 4096
_DETAIL_MAX = 500
_TOPIC_MAX = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that could not be used."""

    received_at: int
    topic: str
    reason: str
    detail: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Transition:
    """A machine's presence changed."""

    machine: Machine
    at: int
    before: PresenceState
    after: PresenceState


@dataclass(slots=True)  # not frozen: making one takes a quarter of the time
class Arrived:
    """A sample to store. `clock_offset` is what to add to its time, in milliseconds."""

    machine: Machine
    stream: Stream
    sample: Sample
    received_at: int
    clock_offset: int


@dataclass(slots=True)
class Batch:
    """What one transaction stores, and what may be acknowledged after it."""

    samples: list[Arrived] = field(default_factory=list)
    machines: dict[int, Machine] = field(default_factory=dict)
    streams: dict[tuple[int, str], tuple[Machine, Stream]] = field(default_factory=dict)
    infos: dict[int, tuple[Machine, Info]] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    acks: list[tuple[Machine, Stream, tuple[int, ...], bool]] = field(default_factory=list)
    """Machine, stream, numbers, and whether the machine waits for the answer."""
    duplicates: int = 0
    live_since: int | None = None
    """When the oldest live sample in it was taken, in milliseconds of the server's clock."""
    clones: list[Machine] = field(default_factory=list)
    """Machines for which an outbox spoke that another had replaced (`ingestor.domain.incidents.Identity`)."""
    incidents: list[Incident] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    """Of requests and commands."""

    def __bool__(self) -> bool:
        return bool(self.machines or self.rejected or self.incidents or self.alerts or self.changes)


OrgReader = Callable[["Batch", Address, Message, int], None]
"""Reads a message that is about an organisation, not from one of its machines, into a batch. May raise Refused."""


class RefusedError(Exception):
    """A message is set aside. The arguments: a reason's code, and a sentence."""


class Intake:
    """Reads messages into a batch. `find` gives the machine of an org by its id, `config` an org's configuration.

    `on_result` takes a machine's results; `org_readers` what is not from machines, by its topic.
    """

    def __init__(
        self,
        *,
        find: Callable[[str, str], Machine | None],
        config: Callable[[str], OrgConfig],
        on_result: Callable[[Batch, Machine, Result, int], None] = lambda *_: None,
        org_readers: Mapping[Topic, OrgReader] = {},
    ) -> None:
        self._find = find
        self._config = config
        self._on_result = on_result
        self._org_readers = org_readers
        self._readers: Mapping[Topic, Callable[[Batch, Machine, Message, int], None]] = {
            topics.STATUS: self._status,
            topics.INFO: self._info,
            topics.TELEMETRY: self._telemetry,
            topics.BACKFILL: self._backfill,
            topics.RESULT: self._result,
        }

    def take(self, batch: Batch, message: Message, now: int) -> None:
        """Read one message into the batch. `now`: its arrival, in milliseconds of the server's clock.

        Raises what `find` raises when the database is away, and nothing else.
        """
        try:
            reason, detail = self._take(batch, message, now)
        except ValidationError as error:
            reason, detail = _explain(error)
        except (TooManyError, RefusedError) as error:
            reason, detail = error.args
        except DBAPIError:
            raise  # the database is away: not this message's fault
        except Exception as error:  # one of the three named places: nothing that arrives may stop the ingestor
            log.exception("a message on %s could not be read", message.topic)
            reason, detail = "error", type(error).__name__
        if reason:
            rejected = Rejected(now, message.topic[:_TOPIC_MAX], reason, detail[:_DETAIL_MAX], message.payload)
            batch.rejected.append(rejected)

    def change(self, batch: Batch, machine: Machine, after: PresenceState, now: int) -> None:
        """Note what a machine's presence has become."""
        before, machine.state = machine.state, after
        batch.machines[machine.id] = machine
        if after.presence is not before.presence:
            batch.transitions.append(Transition(machine, now, before, after))

    def _take(self, batch: Batch, message: Message, now: int) -> tuple[str, str]:
        address = topics.parse(message.topic)
        reader = self._readers.get(address.topic) if address else None
        org_reader = self._org_readers.get(address.topic) if address else None
        if address is None or (reader is None and org_reader is None):
            return "unknown-topic", "not a topic that the ingestor reads"
        if len(message.payload) > PAYLOAD_MAX_BYTES:
            return "too-large", f"{len(message.payload)} bytes"
        if org_reader is not None:
            org_reader(batch, address, message, now)
            return "", ""
        if not message.payload and address.topic.retain:
            return "", ""  # a retained message was cleared
        machine = self._find_machine(address)
        if machine is None:
            return "unknown-machine", f"{address.org} has no machine {address.machine}"
        if reader is not None:
            reader(batch, machine, message, now)
        return "", ""

    def _find_machine(self, address: Address) -> Machine | None:
        return self._find(address.org, address.machine)

    def _status(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        status = Status.decode(message.payload)
        self.change(batch, machine, on_status(machine.state, status, now, retained=message.retain), now)

    def _info(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        info = Info.decode(message.payload)
        batch.infos[machine.id] = (machine, info)
        batch.machines[machine.id] = machine
        if not message.retain:
            self.change(batch, machine, on_live(machine.state, info.session, now), now)
            machine.clock.observe(now - info.at)  # it comes before what waited, which is dated by it
            if info.stream is not None:
                self._identify(batch, machine, info.session, info.stream)
                self._settle(batch, machine, info, now)

    def _settle(self, batch: Batch, machine: Machine, info: Info, now: int) -> None:
        """The outbox says what it still holds of earlier streams: what else is missing of them will never come."""
        waiting = set()
        for report in info.earlier_streams:
            oldest_seq = report.oldest_seq or report.highest_seq + 1
            self._hear(batch, machine, report.stream, report.highest_seq, oldest_seq, report.dropped, now)
            waiting.update([report.stream] if report.oldest_seq else [])
        for name, stream in machine.streams.items():
            if name != info.stream and name not in waiting and stream.oldest_seq <= stream.highest_seq:
                stream.nothing_waits()
                batch.streams[machine.id, name] = (machine, stream)

    def _telemetry(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        sample = Telemetry.decode(message.payload)
        self.change(batch, machine, on_live(machine.state, sample.session, now), now)
        self._identify(batch, machine, sample.session, sample.stream)
        machine.clock.observe(now - sample.sampled_at)
        stream = self._hear(batch, machine, sample.stream, sample.seq, sample.oldest_seq, sample.dropped, now)
        if sample.vitals.uptime_seconds is not None:
            stream.boot.observe(now - sample.vitals.uptime_seconds * 1000)
        offset = _live_offset(machine, stream, sample, now)
        if self._store(batch, machine, stream, sample, now, offset):
            taken_at = sample.sampled_at + offset
            batch.live_since = min(taken_at, batch.live_since or taken_at)
        batch.acks.append((machine, stream, (sample.seq,), False))
        thresholds = self._config(machine.org).thresholds
        vitals = sample.vitals
        judged = health(vitals.cpu_percent, vitals.memory_percent, vitals.disk_percent, thresholds)
        if sample.seq == stream.highest_seq:  # else a newer one was faster, by way of another ingestor
            machine.latest = Latest(sample.sampled_at, vitals, sample.extra, judged)

    def _backfill(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        backfill = Backfill.decode(message.payload)
        self.change(batch, machine, on_live(machine.state, backfill.session, now), now)
        numbers = tuple(backfill.seq)
        stream = self._hear(batch, machine, backfill.stream, numbers[-1], backfill.oldest_seq, backfill.dropped, now)
        for sample in backfill.samples():
            stream.late += self._store(batch, machine, stream, sample, now, _late_offset(machine, stream, sample))
        batch.acks.append((machine, stream, numbers, True))

    def _result(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        result = Result.decode(message.payload)
        self.change(batch, machine, on_live(machine.state, result.session, now), now)
        self._on_result(batch, machine, result, now)

    def _identify(self, batch: Batch, machine: Machine, session: int, stream: str) -> None:
        if machine.identity.returns(session, stream):
            batch.clones.append(machine)

    def _hear(
        self, batch: Batch, machine: Machine, name: str, seq: int, oldest_seq: int, dropped: int, now: int
    ) -> Stream:
        stream = machine.stream(name, now)
        if stream.stored.pieces >= RANGES_MAX and seq > stream.highest_seq:
            raise TooManyError("too-many-gaps", f"{RANGES_MAX} gaps in stream {name}")
        stream.hear(seq, oldest_seq, dropped)
        batch.streams[machine.id, name] = (machine, stream)
        return stream

    def _store(
        self, batch: Batch, machine: Machine, stream: Stream, sample: Sample, now: int, clock_offset: int
    ) -> bool:
        if sample.seq in stream.stored:
            stream.duplicate += 1
            batch.duplicates += 1
            return False
        stream.stored.add(sample.seq)
        batch.samples.append(Arrived(machine, stream, sample, now, clock_offset))
        return True


def _live_offset(machine: Machine, stream: Stream, sample: Sample, now: int) -> int:
    """What to add to the time of a live sample: what live messages show, unless this one shows that the clock was set.

    It takes some messages until another offset is believed; until then uptime dates them, as it does when one is late.
    """
    shown = machine.clock.milliseconds
    if shown is not None and abs(now - sample.sampled_at - shown) > CLOCK_TOLERANCE_MILLISECONDS:
        return _late_offset(machine, stream, sample)
    return within_tolerance(shown)


def _late_offset(machine: Machine, stream: Stream, sample: Sample) -> int:
    """What to add to the time of a sample that waited, to get the server's.

    The machine's clock may have been set since. Its stream belongs to one boot, so uptime, which setting a clock does
    not move, dates the sample to the second; without it, the offset that live messages show now is the best guess.
    """
    if stream.boot.milliseconds is None or sample.vitals.uptime_seconds is None:
        return within_tolerance(machine.clock.milliseconds)
    return within_tolerance(stream.boot.milliseconds + sample.vitals.uptime_seconds * 1000 - sample.sampled_at)


def _explain(error: ValidationError) -> tuple[str, str]:
    problems = error.errors(include_input=False, include_url=False)
    version = next((problem for problem in problems if problem["loc"] == ("v",)), None)
    shown = version or problems[0]
    where = ".".join(str(level) for level in shown["loc"])
    detail = f"{where}: {shown['msg']}" if where else shown["msg"]
    if version is not None:
        return "wrong-version", detail
    return "not-json" if shown["type"] == "json_invalid" else "invalid", detail


def counted(rejected: list[Rejected]) -> Counter[str]:
    """How many were rejected, by reason."""
    return Counter(message.reason for message in rejected)
