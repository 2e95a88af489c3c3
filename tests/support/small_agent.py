"""A small agent that follows the contract, and can be told to break one rule of it at a time."""

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from clocks import Clock
from pydantic import ValidationError

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Connected, Message
from schemas.contract import topics
from schemas.contract.ack import Ack
from schemas.contract.backfill import Backfill
from schemas.contract.commands import CommandMessage, Order, Result
from schemas.contract.messages import Info, Sample, Status, Telemetry, Vitals
from schemas.contract.org_config import OrgConfig
from schemas.contract.signing import Key, KeyRing, SignatureError
from schemas.contract.topics import Topic

STREAM = "00000000000000cc"
LEVELS = {"org": "home", "machine": "attic"}
RESEND_SECONDS = 3.0
BATCH_MAX = 3
FUTURE_MILLISECONDS = 300_000


@dataclass
class Disk:
    """What outlives the process."""

    session: int = 0
    next_seq: int = 1
    outbox: dict[int, Sample] = field(default_factory=dict)
    archive: dict[int, Sample] = field(default_factory=dict)
    rejected: set[int] = field(default_factory=set)
    journal: dict[str, Result] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    starts: int = 0
    is_lost: bool = False
    lost_at: int = 0
    """When the journal was found to be missing."""


class SmallAgent:
    """An agent on a broker in memory; `breaks` is the rule that it breaks, or empty. Call `step` often."""

    def __init__(self, broker: MemoryBroker, clock: Clock, public_key: str, *, breaks: str = "") -> None:
        self.disk = Disk()
        self._broker = broker
        self._clock = clock
        self._breaks = breaks
        self._ring = KeyRing("home")
        self._ring.hold([Key(public_key)])
        self._transport: MemoryTransport | None = None
        self._statuses: list[str] = []

    def start(self) -> None:
        disk = self.disk
        disk.starts += 1
        if disk.is_lost and self._breaks != "a lost journal is a new one":
            disk.lost_at = self._clock.now()
        disk.is_lost = False
        if self._breaks == "journal lost at restart":
            disk.journal.clear()
        if self._breaks == "numbers from 1 at restart":
            disk.next_seq = 1
            disk.outbox.clear()
        self._sampled_at = self._resent_at = self._reported_at = self._clock.monotonic()
        self._outstanding: list[int] = []
        self._taken: dict[int, float] = {}
        self._deaf = False
        self._queue: deque[Result] = deque()
        filters = (topics.COMMAND, topics.ACK, topics.CONFIG, topics.STATUS, topics.ORG_CONFIG)
        self._transport = MemoryTransport(
            self._broker,
            client_id="home.attic",
            subscriptions=[(topic.filter(**LEVELS), topic.qos) for topic in filters],
            will=self._will,
            pass_time=lambda _: None,
        )

    def lose_journal(self) -> bool:
        self.disk.journal.clear()
        self.disk.is_lost = True
        return True

    def kill(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.cut()
            transport.close()

    def stop(self) -> None:
        reason = "lost" if self._breaks == "goodbye is lost" else "stopped"
        if self._breaks != "no goodbye":
            self._publish(topics.STATUS, self._status("offline", reason).encode())
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def step(self) -> None:
        """Handle what has arrived, and do what is due."""
        if self._transport is None:
            return
        for event in self._transport.receive(100, 0):
            if isinstance(event, Connected):
                self._on_connected()
            elif isinstance(event, Message):
                self._on_message(event)
        now = self._clock.monotonic()
        if now - self._sampled_at >= 1.0 and not self._deaf:
            self._sampled_at = now
            self._sample(now)
        if now - self._resent_at >= RESEND_SECONDS:
            self._resent_at = now
            self._backfill(now)
        if now - self._reported_at >= 5.0:
            self._reported_at = now
            self._repeat_results()

    # Presence.

    def _will(self) -> Message | None:
        disk = self.disk
        if self._breaks == "session stays":
            disk.session = disk.session or self._clock.now()
        elif self._breaks == "session falls":
            disk.session = self._clock.now() if disk.starts == 1 else disk.starts
        else:
            disk.session = max(disk.session + 1, self._clock.now())
        if self._breaks == "no will":
            return None
        status = self._status("offline", "stopped" if self._breaks == "will is a goodbye" else "lost")
        if self._breaks == "will of another session":
            status = status.model_copy(update={"session": status.session + 7})
        if self._breaks == "retires with its will":
            status = status.model_copy(update={"retiring": True})
        return Message(topics.STATUS.at(**LEVELS), status.encode(), 1, retain=True)

    def _status(self, state: str, reason: str | None = None) -> Status:
        return Status.model_validate(
            {
                "state": state,
                "reason": reason,
                "session": self.disk.session,
                "at": self._clock.now(),
                "interval_seconds": 1.0,
            }
        )

    def _on_connected(self) -> None:
        if self._breaks != "no birth":
            self._publish(topics.STATUS, self._status("online").encode(), kept=self._breaks != "birth not retained")
        if self._breaks != "no info" and not (self._breaks == "info only once" and self.disk.starts > 1):
            self._publish(topics.INFO, self._info().encode(), kept=self._breaks != "info not retained")
        if self._breaks == "facts without a session":
            self._publish(topics.FACTS, b'{"v": 1, "at": 1, "items": {}}', kind="mounts")
        if self._breaks == "text for a number":
            self._publish(topics.RESULT, b'{"v": 1, "session": "1", "state": "running", "at": 1}')

    def _info(self) -> Info:
        return Info.model_validate(
            {
                "session": self.disk.session,
                "stream": STREAM,
                "at": self._clock.now(),
                "hostname": "attic",
                "agent_version": "small",
                "interval_seconds": 1.0,
                "metrics": [{"name": "fan_rpm", "unit": "rpm", "title": "Fan"}],
                "actions": [{"name": "ping", "title": "Ping", "arguments_schema": {"type": "object"}}],
            }
        )

    def _on_message(self, message: Message) -> None:
        address = topics.parse(message.topic)
        try:
            match address and address.topic:
                case topics.STATUS:
                    self._on_own_status(Status.decode(message.payload))
                case topics.ACK:
                    self._on_ack(Ack.decode(message.payload))
                case topics.COMMAND:
                    self._on_command(message.payload)
                case topics.ORG_CONFIG:
                    self._on_config(OrgConfig.decode(message.payload))
        except ValidationError:
            self._deaf = self._deaf or self._breaks == "no samples after an invalid message"

    def _on_own_status(self, status: Status) -> None:
        if status.state == "offline" and self._breaks != "offline stays":
            self._publish(topics.STATUS, self._status("online").encode())

    # Samples.

    def _sample(self, now: float) -> None:
        disk, seq = self.disk, self.disk.next_seq
        disk.next_seq += 2 if self._breaks == "gaps" and seq % 3 == 0 else 1
        extra: dict[str, float | None] = {
            "fan_rpm": 1200.0,
            **({"secret_count": 1.0} if self._breaks == "metric not described" else {}),
        }
        sample = Sample(seq=seq, sampled_at=self._clock.now(), vitals=Vitals(cpu_percent=1.0), extra=extra)
        disk.outbox[seq] = disk.archive[seq] = sample
        self._taken[seq] = now
        acked = disk.archive.keys() - disk.outbox.keys() - disk.rejected
        if self._breaks == "acknowledged samples again" and seq - 8 in acked:
            self._publish_live(disk.archive[seq - 8])
        self._publish_live(sample)

    def _publish_live(self, sample: Sample) -> None:
        disk, seq = self.disk, sample.seq
        oldest = {"oldest is 1": 1, "oldest is the newest": seq}.get(self._breaks, min(disk.outbox))
        session = disk.session + 5 if self._breaks == "session of samples" else disk.session
        telemetry = Telemetry(**sample.model_dump(), session=session, stream=STREAM, oldest_seq=oldest)
        self._publish(topics.TELEMETRY, telemetry.encode(), qos=0 if self._breaks == "samples with QoS 0" else 1)

    def _backfill(self, now: float) -> None:
        disk = self.disk
        waiting = sorted(seq for seq in disk.outbox if now - self._taken.get(seq, 0.0) >= RESEND_SECONDS)
        if self._breaks == "rejected samples again" and not waiting:
            waiting = sorted(disk.rejected)
        if self._breaks == "nothing again" or not waiting:
            return
        outstanding = [seq for seq in self._outstanding if seq in disk.outbox]
        if outstanding and self._breaks == "batches at once":
            waiting = [seq for seq in waiting if seq > outstanding[-1]]
            outstanding = []
        self._outstanding = outstanding or waiting[:BATCH_MAX]
        if not self._outstanding:
            return
        samples = [disk.archive[seq] for seq in self._outstanding]
        if self._breaks == "other content again":
            samples = [sample.model_copy(update={"sampled_at": sample.sampled_at + 1}) for sample in samples]
        session = disk.session + 5 if self._breaks == "session of batches" else disk.session
        batch = Backfill.of(samples, session=session, stream=STREAM, oldest_seq=min(disk.archive), dropped=0)
        self._publish(topics.BACKFILL, batch.encode())

    def _on_ack(self, ack: Ack) -> None:
        for each in ack.ranges:
            for seq in range(each.first, each.last + 1):
                self.disk.outbox.pop(seq, None)
        for each in (each for rejection in ack.rejected for each in rejection.ranges):
            for seq in range(each.first, each.last + 1):
                self.disk.outbox.pop(seq, None)
                self.disk.rejected.add(seq)
        if self._breaks != "results for ever":
            self.disk.acked.update(ack.results)

    # Orders.

    def _on_config(self, config: OrgConfig) -> None:
        if self._breaks == "no new keys":
            return
        changes = config.key_changes
        if self._breaks == "no revocations":
            changes = tuple(each for each in changes if '"revoke"' not in each.statement)
        if self._breaks == "any new key":
            for each in changes:
                statement = json.loads(each.statement)
                if statement["change"] == "add":
                    self._ring.hold([Key(statement["public_key"])])
        self._ring.apply(changes, self._clock.now())

    def _on_command(self, payload: bytes) -> None:
        if self._breaks == "unknown fields refused" and b"unknown_field" in payload:
            return
        signed = CommandMessage.decode(payload).order
        try:
            if self._breaks == "signature not verified" and signed.key in self._ring.keys:
                order = Order.model_validate_json(signed.statement)
            else:
                order = self._ring.open(signed, Order, self._clock.now())
        except SignatureError:
            claimed = json.loads(signed.statement)
            self._report(claimed["id"], "rejected", reason="signature")
            return
        self._execute(order)

    def _execute(self, order: Order) -> None:
        known = self.disk.journal.get(order.id)
        if known is not None and not (self._breaks == "runs twice" and self.disk.starts == 1):
            if self._breaks != "known orders unanswered" or self.disk.starts > 1:
                self._send(known)
            return
        reason = self._refusal(order)
        if reason:
            self._finish(order.id, "rejected", reason)
            return
        if self._breaks != "no running":
            self._report(order.id, "running")
        if self._breaks != "no outcome":
            self._finish(order.id, "succeeded", "")

    def _refusal(self, order: Order) -> str:
        now = self._clock.now()
        if order.issued_at < self.disk.lost_at:
            return "lost" if self._breaks == "another code for a lost journal" else "journal"
        checks = {
            "target": (order.org, order.machine) != ("home", "attic"),
            "future": order.issued_at > now + FUTURE_MILLISECONDS,
            "expired": order.expires_at <= now,
            "not-allowed": order.action != "ping",
            "arguments": bool(order.arguments),
        }
        if self._breaks == "another code" and checks["not-allowed"]:
            return "forbidden"
        return next((code for code, wrong in checks.items() if wrong and self._breaks != f"{code} not checked"), "")

    def _finish(self, id_: str, state: str, reason: str) -> None:
        self.disk.journal.setdefault(id_, self._report(id_, state, reason=reason))

    def _report(self, id_: str, state: str, *, reason: str = "") -> Result:
        fields: dict[str, Any] = {"id": id_, "state": state, "at": self._clock.now(), "reason": reason}
        result = Result.model_validate({"session": self.disk.session, **fields})
        self._send(result)
        return result

    def _send(self, result: Result) -> None:
        session = 1 if self._breaks == "session of results" else self.disk.session
        payload = result.model_copy(update={"session": session}).encode()
        self._publish(topics.RESULT, payload, qos=0 if self._breaks == "results with QoS 0" else 1)

    def _repeat_results(self) -> None:
        if self._breaks != "results once":
            for id_, result in self.disk.journal.items():
                if id_ not in self.disk.acked:
                    self._send(result)

    def _publish(
        self, topic: Topic, payload: bytes, *, qos: int | None = None, kept: bool | None = None, **levels: str
    ) -> None:
        if self._transport is not None:
            retain = topic.retain if kept is None else kept
            message = Message(topic.at(**LEVELS, **levels), payload, topic.qos if qos is None else qos, retain)
            self._transport.publish(message)
