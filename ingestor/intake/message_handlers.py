"""Handlers of received messages: each adds its message to a batch.

Invariants:
- A message is handled as a whole or rejected as a whole, except a backfill, of which only invalid samples are rejected.
  Rejected messages become dead letters, are counted, and their sender is told (`Ack.rejected`).
- Nothing here writes to the database or the broker; a batch is stored in one transaction or not at all.
- A sample that is in the ledger is not stored again, but acknowledged again.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from broker.client.transport import Message
from ingestor.domain.batch import Arrived, Batch
from ingestor.domain.dead_letter import DeadLetter, RejectedError
from ingestor.domain.live_sample import read_live_sample
from ingestor.domain.machine import RANGES_MAX, Description, Latest, Machine, Stream
from ingestor.domain.presence import BEHIND, PRESENT, Presence, on_behind, on_live, on_status, on_waited
from ingestor.domain.sample_time import late_offset, live_offset
from ingestor.intake.farewell import asks_to_retire, retire
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.next_sample import add_next_sample
from ingestor.intake.org_configs import OrgConfigs
from ingestor.intake.salvage import BackfillFigures, TelemetryFigures, explain, read_backfill, read_figures
from schemas.contract import topics
from schemas.contract.ack import Range, Rejection
from schemas.contract.commands import Result
from schemas.contract.messages import Info, Sample, Status, Telemetry
from schemas.contract.topics import Address, Topic
from schemas.fleet.health import health
from schemas.fleet.ranges import Ranges

PAYLOAD_MAX_BYTES = 256 << 10
AHEAD_MAX_MILLISECONDS = 86_400_000
"""How far a sample's time may be ahead of the server's clock, after correction."""

READABLE_MAX_BYTES = 1 << 20
"""Size up to which the numbers of the samples are read in a message that is too large."""

UNEXPECTED = "error"
"""Reason of a message that the ingestor failed to handle. Its samples may be sent again: the fault is not theirs."""

_DETAIL_MAX = 500
_TOPIC_MAX = 500

log = logging.getLogger(__name__)

OrgHandler = Callable[[Batch, Address, Message, int], None]
"""Adds a message that is not from a machine to a batch. Raises RejectedError or ValidationError."""

FactsHandler = Callable[[Batch, Machine, Message, int], None]
"""Adds a list of facts, or with an empty payload its removal, to a batch. Raises RejectedError or ValidationError."""

ResultHandler = Callable[[Batch, Machine, Result, int], None]
"""Adds the result of a command to a batch. Raises RejectedError."""


class MessageHandlers:
    """The handlers by topic. `on_result`, `on_facts` and `org_handlers` belong to other components."""

    def __init__(
        self,
        cache: MachineCache,
        configs: OrgConfigs,
        *,
        on_result: ResultHandler,
        on_facts: FactsHandler,
        org_handlers: Mapping[Topic, OrgHandler],
    ) -> None:
        self._cache = cache
        self._configs = configs
        self._on_result = on_result
        self._org_handlers = org_handlers
        self._machine_handlers: Mapping[Topic, Callable[[Batch, Machine, Message, int], None]] = {
            topics.STATUS: self._status,
            topics.INFO: self._info,
            topics.TELEMETRY: self._telemetry,
            topics.BACKFILL: self._backfill,
            topics.FACTS: on_facts,
            topics.RESULT: self._result,
        }

    def handle(self, batch: Batch, message: Message, address: Address | None, now: int) -> None:
        """Add one message to the batch. `now`: its arrival, in milliseconds of the server's clock.

        Raises DBAPIError when the database is unavailable, and nothing else.
        """
        try:
            if (
                address is None
                or address.topic is not topics.TELEMETRY
                or not self._add_live(batch, message, address, now)
            ):
                self._dispatch(batch, message, address, now)
        except ValidationError as error:
            reason, detail = explain(error)
        except RejectedError as error:
            reason, detail = error.args
        except DBAPIError:
            raise  # the database is unavailable: not a fault of this message
        except Exception as error:  # one of the named places: no message may stop the ingestor
            log.exception("a message on %s could not be handled", message.topic)
            reason, detail = UNEXPECTED, type(error).__name__
        else:
            return
        self.reject(batch, message, address, now, reason, detail)

    def reject(
        self, batch: Batch, message: Message, address: Address | None, now: int, reason: str, detail: str
    ) -> None:
        """Make a dead letter of a message, and tell the machine that sent it; name its samples if they can be read."""
        letter = DeadLetter(now, message.topic[:_TOPIC_MAX], reason, detail[:_DETAIL_MAX], message.payload)
        batch.dead_letters.append(letter)
        machine = self._cache.get(address.org, address.machine) if address is not None else None
        if machine is None or address is None or message.retain:  # a retained message may be of long ago
            return
        answer = Rejection(topic=message.topic, reason=reason, detail=letter.detail)
        is_readable = reason != UNEXPECTED and len(message.payload) <= READABLE_MAX_BYTES
        figures = read_figures(address.topic, message.payload) if is_readable else None
        if figures is not None:
            heard = on_waited if address.topic is topics.BACKFILL else on_live
            batch.change_presence(machine, heard(machine.state, figures.session, now), now)  # it is there
            answer = _with_numbers(batch, machine, answer, figures, now)
        batch.rejections.append((machine, answer))

    def _dispatch(self, batch: Batch, message: Message, address: Address | None, now: int) -> None:
        handler = self._machine_handlers.get(address.topic) if address else None
        org_handler = self._org_handlers.get(address.topic) if address else None
        if address is None or (handler is None and org_handler is None):
            raise RejectedError("unknown-topic", "not a topic that the ingestor reads")
        if len(message.payload) > PAYLOAD_MAX_BYTES:
            raise RejectedError("too-large", f"{len(message.payload)} bytes")
        if org_handler is not None:
            org_handler(batch, address, message, now)
        is_cleared = address.topic.retain and not message.payload
        if handler is None or (is_cleared and address.topic is not topics.FACTS):
            return
        machine = self._cache.find(address.org, address.machine)
        if machine is None and is_cleared:
            return
        if machine is None:
            raise RejectedError("unknown-machine", f"{address.org} has no machine {address.machine}")
        handler(batch, machine, message, now)

    def _add_live(self, batch: Batch, message: Message, address: Address, now: int) -> bool:
        """Add the common live sample; return False, and change nothing, if it is not common."""
        if len(message.payload) > PAYLOAD_MAX_BYTES:
            return False
        machine = self._cache.get(address.org, address.machine)
        if machine is None or (sample := read_live_sample(message.payload)) is None:
            return False
        return add_next_sample(batch, machine, sample, now, self._configs.of(machine.org).thresholds)

    def _status(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        status = Status.decode(message.payload)
        if asks_to_retire(machine, status):
            retire(batch, machine, now)
        batch.change_presence(machine, on_status(machine.state, status, now, retained=message.retain), now)

    def _info(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        info = Info.decode(message.payload)
        batch.infos[machine.id] = (machine, info)
        machine.description = Description(
            info.hostname, info.os or "", info.os_version or "", info.agent_version, info.labels
        )
        batch.machines[machine.id] = machine
        if not message.retain:
            batch.change_presence(machine, on_live(machine.state, info.session, now), now)
            machine.clock.observe(now - info.at)  # it precedes waiting samples, whose times it corrects
            if info.stream is not None:
                _check_identity(batch, machine, info.session, info.stream)
                _close_earlier_streams(batch, machine, info, now)

    def _telemetry(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        sample = Telemetry.decode(message.payload)
        thresholds = self._configs.of(machine.org).thresholds
        if add_next_sample(batch, machine, sample, now, thresholds):  # with series
            return
        batch.change_presence(machine, on_live(machine.state, sample.session, now), now)
        known = machine.streams.get(sample.stream)
        if known is None or sample.seq > known.highest_seq:
            _check_session(batch, machine, sample.session, message.topic, now)
        _check_identity(batch, machine, sample.session, sample.stream)
        machine.clock.observe(now - sample.sampled_at)
        stream = _report(batch, machine, sample.stream, sample.seq, sample.oldest_seq, sample.dropped, now)
        if sample.vitals.uptime_seconds is not None:
            stream.boot.observe(now - sample.vitals.uptime_seconds * 1000)
        offset = live_offset(machine, stream, sample, now)
        if _store(batch, machine, stream, sample, now, offset):
            taken_at = sample.sampled_at + offset
            batch.live_since = min(taken_at, batch.live_since or taken_at)
        batch.acks.append((machine, stream, (sample.seq,), False))
        vitals = sample.vitals
        score = health(vitals.cpu_percent, vitals.memory_percent, vitals.disk_percent, thresholds)
        if sample.seq == stream.highest_seq:  # else a newer one arrived first, through another ingestor
            machine.latest = Latest(sample.sampled_at, vitals, sample.extra, score)

    def _backfill(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        read = read_backfill(message.payload)
        figures, invalid = read.figures, read.invalid
        batch.change_presence(machine, on_waited(machine.state, figures.session, now), now)
        stream = _report(batch, machine, figures.stream, figures.seq[-1], figures.oldest_seq, figures.dropped, now)
        for sample in read.samples:
            offset = late_offset(machine, stream, sample)
            if sample.sampled_at + offset > now + AHEAD_MAX_MILLISECONDS:
                invalid[sample.seq] = "sampled_at is more than a day ahead"
            else:
                stream.late += _store(batch, machine, stream, sample, now, offset)
        if invalid:
            first, detail = next(iter(invalid.items()))
            detail = f"{len(invalid)} of {len(figures.seq)} samples, the first number {first}: {detail}"[:_DETAIL_MAX]
            batch.dead_letters.append(DeadLetter(now, message.topic, "invalid", detail, read.excerpt))
            ranges = _reject_samples(batch, machine, stream, invalid)
            answer = Rejection(topic=message.topic, stream=stream.name, ranges=ranges, reason="invalid", detail=detail)
            batch.rejections.append((machine, answer))
        if taken := tuple(seq for seq in figures.seq if seq not in invalid):
            batch.acks.append((machine, stream, taken, True))

    def _result(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        result = Result.decode(message.payload)
        batch.change_presence(machine, on_live(machine.state, result.session, now), now)
        self._on_result(batch, machine, result, now)


def _check_identity(batch: Batch, machine: Machine, session: int, stream: str) -> None:
    if machine.identity.returns(session, stream):
        batch.clones.append(machine)


def _check_session(batch: Batch, machine: Machine, session: int, topic: str, now: int) -> None:
    """Treat a machine as present that goes on sending new samples in a session that is not current, and tell it."""
    state, behind = machine.state, machine.behind
    if session == state.session and state.presence is Presence.ONLINE:
        behind.session = 0
        return
    persists = behind.persists(session, now)
    if state.presence is Presence.RETIRED or not (persists or (state.reason == BEHIND and state.presence in PRESENT)):
        return
    batch.change_presence(machine, on_behind(state, now), now)
    if behind.must_tell(now):
        detail = (
            f"session {session} is not above the last session {state.session}: samples are stored, but births, "
            "goodbyes and wills are ignored; begin each connection with max(last + 1, the time in milliseconds)"
        )
        batch.rejections.append((machine, Rejection(topic=topic, reason=BEHIND, detail=detail)))
        log.warning("%s/%s: %s", machine.org, machine.name, detail)


def _close_earlier_streams(batch: Batch, machine: Machine, info: Info, now: int) -> None:
    """Mark earlier streams of which the outbox holds nothing: their missing samples will never come."""
    waiting = set()
    for report in info.earlier_streams:
        oldest_seq = report.oldest_seq or report.highest_seq + 1
        _report(batch, machine, report.stream, report.highest_seq, oldest_seq, report.dropped, now)
        waiting.update([report.stream] if report.oldest_seq else [])
    for name, stream in machine.streams.items():
        if name != info.stream and name not in waiting and stream.oldest_seq <= stream.highest_seq:
            stream.drained()
            batch.streams[machine.id, name] = (machine, stream)


def _report(batch: Batch, machine: Machine, name: str, seq: int, oldest_seq: int, dropped: int, now: int) -> Stream:
    stream = machine.stream(name, now)
    if stream.stored.pieces >= RANGES_MAX and seq > stream.highest_seq:
        raise RejectedError("too-many-gaps", f"{RANGES_MAX} gaps in stream {name}")
    stream.report(seq, oldest_seq, dropped)
    batch.streams[machine.id, name] = (machine, stream)
    return stream


def _reject_samples(batch: Batch, machine: Machine, stream: Stream, numbers: Iterable[int]) -> tuple[Range, ...]:
    """Enter rejected samples into the ledger, except those that are stored; return them as ranges."""
    rejected = Ranges((number, number) for number in numbers if number not in stream.stored)
    if stream.rejected.pieces + rejected.pieces > RANGES_MAX:
        raise RejectedError("too-many-gaps", f"{RANGES_MAX} ranges of rejected samples in stream {stream.name}")
    for first, last in rejected:
        stream.rejected.add(first, last)
        stream.highest_seq = max(stream.highest_seq, last)
    batch.streams[machine.id, stream.name] = (machine, stream)
    return tuple(Range(first=first, last=last) for first, last in rejected)


def _with_numbers(
    batch: Batch, machine: Machine, answer: Rejection, figures: TelemetryFigures | BackfillFigures, now: int
) -> Rejection:
    """Return the answer with the numbers of the rejected samples, and enter them into the ledger where it has room."""
    numbers = [figures.seq] if isinstance(figures.seq, int) else figures.seq
    try:
        stream = machine.stream(figures.stream, now)
        ranges = _reject_samples(batch, machine, stream, numbers)
    except RejectedError:
        ranges = tuple(Range(first=first, last=last) for first, last in Ranges((number, number) for number in numbers))
    else:
        if stored := tuple(number for number in numbers if number in stream.stored):
            batch.acks.append((machine, stream, stored, len(numbers) > 1))
    return answer.model_copy(update={"stream": figures.stream, "ranges": ranges}) if ranges else answer


def _store(batch: Batch, machine: Machine, stream: Stream, sample: Sample, now: int, clock_offset: int) -> bool:
    """Add a sample to the batch; return False if it is a duplicate."""
    if sample.seq in stream.stored:
        stream.duplicate += 1
        batch.duplicates += 1
        return False
    if stream.rejected.pieces:
        stream.rejected.remove(sample.seq)  # the machine has corrected it
    stream.stored.add(sample.seq)
    batch.samples.append(Arrived(machine, stream, sample, now, clock_offset))
    return True
