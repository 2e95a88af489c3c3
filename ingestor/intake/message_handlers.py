"""Handlers of received messages: each adds its message to a batch.

Invariants:
- A message is handled as a whole or rejected as a whole: rejected messages become dead letters, and are counted.
- Nothing here writes to the database or the broker; a batch is stored in one transaction or not at all.
- A sample that is in the ledger is not stored again, but acknowledged again.
"""

import logging
from collections.abc import Callable, Mapping

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from broker.client.transport import Message
from ingestor.domain.batch import Arrived, Batch
from ingestor.domain.dead_letter import DeadLetter, RejectedError
from ingestor.domain.machine import (
    CLOCK_TOLERANCE_MILLISECONDS,
    RANGES_MAX,
    Latest,
    Machine,
    Stream,
    within_tolerance,
)
from ingestor.domain.presence import on_live, on_status
from ingestor.intake.machine_cache import MachineCache
from ingestor.intake.org_configs import OrgConfigs
from schemas.contract import topics
from schemas.contract.commands import Result
from schemas.contract.messages import Backfill, Info, Sample, Status, Telemetry
from schemas.contract.topics import Address, Topic
from schemas.fleet.health import health

PAYLOAD_MAX_BYTES = 256 << 10
_DETAIL_MAX = 500
_TOPIC_MAX = 500

log = logging.getLogger(__name__)

OrgHandler = Callable[[Batch, Address, Message, int], None]
"""Adds a message that is not from a machine to a batch. Raises RejectedError or ValidationError."""

ResultHandler = Callable[[Batch, Machine, Result, int], None]
"""Adds the result of a command to a batch. Raises RejectedError."""


class MessageHandlers:
    """The handlers by topic. `on_result` and `org_handlers` belong to other components."""

    def __init__(
        self,
        cache: MachineCache,
        configs: OrgConfigs,
        *,
        on_result: ResultHandler,
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
            topics.RESULT: self._result,
        }

    def handle(self, batch: Batch, message: Message, address: Address | None, now: int) -> None:
        """Add one message to the batch. `now`: its arrival, in milliseconds of the server's clock.

        Raises DBAPIError when the database is unavailable, and nothing else.
        """
        try:
            self._dispatch(batch, message, address, now)
        except ValidationError as error:
            reason, detail = _explain(error)
        except RejectedError as error:
            reason, detail = error.args
        except DBAPIError:
            raise  # the database is unavailable: not a fault of this message
        except Exception as error:  # one of the named places: no message may stop the ingestor
            log.exception("a message on %s could not be handled", message.topic)
            reason, detail = "error", type(error).__name__
        else:
            return
        letter = DeadLetter(now, message.topic[:_TOPIC_MAX], reason, detail[:_DETAIL_MAX], message.payload)
        batch.dead_letters.append(letter)

    def _dispatch(self, batch: Batch, message: Message, address: Address | None, now: int) -> None:
        handler = self._machine_handlers.get(address.topic) if address else None
        org_handler = self._org_handlers.get(address.topic) if address else None
        if address is None or (handler is None and org_handler is None):
            raise RejectedError("unknown-topic", "not a topic that the ingestor reads")
        if len(message.payload) > PAYLOAD_MAX_BYTES:
            raise RejectedError("too-large", f"{len(message.payload)} bytes")
        if org_handler is not None:
            org_handler(batch, address, message, now)
        if handler is None or (address.topic.retain and not message.payload):
            return  # without a payload: a retained message was cleared
        machine = self._cache.find(address.org, address.machine)
        if machine is None:
            raise RejectedError("unknown-machine", f"{address.org} has no machine {address.machine}")
        handler(batch, machine, message, now)

    def _status(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        status = Status.decode(message.payload)
        batch.change_presence(machine, on_status(machine.state, status, now, retained=message.retain), now)

    def _info(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        info = Info.decode(message.payload)
        batch.infos[machine.id] = (machine, info)
        batch.machines[machine.id] = machine
        if not message.retain:
            batch.change_presence(machine, on_live(machine.state, info.session, now), now)
            machine.clock.observe(now - info.at)  # it precedes waiting samples, whose times it corrects
            if info.stream is not None:
                _check_identity(batch, machine, info.session, info.stream)
                _close_earlier_streams(batch, machine, info, now)

    def _telemetry(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        sample = Telemetry.decode(message.payload)
        batch.change_presence(machine, on_live(machine.state, sample.session, now), now)
        _check_identity(batch, machine, sample.session, sample.stream)
        machine.clock.observe(now - sample.sampled_at)
        stream = _report(batch, machine, sample.stream, sample.seq, sample.oldest_seq, sample.dropped, now)
        if sample.vitals.uptime_seconds is not None:
            stream.boot.observe(now - sample.vitals.uptime_seconds * 1000)
        offset = _live_offset(machine, stream, sample, now)
        if _store(batch, machine, stream, sample, now, offset):
            taken_at = sample.sampled_at + offset
            batch.live_since = min(taken_at, batch.live_since or taken_at)
        batch.acks.append((machine, stream, (sample.seq,), False))
        thresholds = self._configs.of(machine.org).thresholds
        vitals = sample.vitals
        score = health(vitals.cpu_percent, vitals.memory_percent, vitals.disk_percent, thresholds)
        if sample.seq == stream.highest_seq:  # else a newer one arrived first, through another ingestor
            machine.latest = Latest(sample.sampled_at, vitals, sample.extra, score)

    def _backfill(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        backfill = Backfill.decode(message.payload)
        batch.change_presence(machine, on_live(machine.state, backfill.session, now), now)
        numbers = tuple(backfill.seq)
        stream = _report(batch, machine, backfill.stream, numbers[-1], backfill.oldest_seq, backfill.dropped, now)
        for sample in backfill.samples():
            stream.late += _store(batch, machine, stream, sample, now, _late_offset(machine, stream, sample))
        batch.acks.append((machine, stream, numbers, True))

    def _result(self, batch: Batch, machine: Machine, message: Message, now: int) -> None:
        result = Result.decode(message.payload)
        batch.change_presence(machine, on_live(machine.state, result.session, now), now)
        self._on_result(batch, machine, result, now)


def _check_identity(batch: Batch, machine: Machine, session: int, stream: str) -> None:
    if machine.identity.returns(session, stream):
        batch.clones.append(machine)


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


def _store(batch: Batch, machine: Machine, stream: Stream, sample: Sample, now: int, clock_offset: int) -> bool:
    """Add a sample to the batch; return False if it is a duplicate."""
    if sample.seq in stream.stored:
        stream.duplicate += 1
        batch.duplicates += 1
        return False
    stream.stored.add(sample.seq)
    batch.samples.append(Arrived(machine, stream, sample, now, clock_offset))
    return True


def _live_offset(machine: Machine, stream: Stream, sample: Sample, now: int) -> int:
    """Return the correction of a live sample's time: the estimated offset, unless the clock was just set.

    It takes some messages until another offset is accepted; until then uptime dates them, as with late samples.
    """
    estimate = machine.clock.milliseconds
    if estimate is not None and abs(now - sample.sampled_at - estimate) > CLOCK_TOLERANCE_MILLISECONDS:
        return _late_offset(machine, stream, sample)
    return within_tolerance(estimate)


def _late_offset(machine: Machine, stream: Stream, sample: Sample) -> int:
    """Return the correction of a late sample's time.

    The machine's clock may have been set since. Its stream belongs to one boot, so uptime, which setting a clock does
    not change, dates the sample to the second; without it, the current estimate is the best guess.
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
