"""Messages as a machine would send them, and an ingestor to take them, on a broker in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from clocks import Clock
from sqlalchemy import Engine

from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.transport import Message
from ingestor.ingestor import Ingestor
from ingestor.storage.store import Store
from schemas.contract import topics
from schemas.contract.backfill import Backfill
from schemas.contract.facts import FactsMessage
from schemas.contract.messages import Info, OfflineReason, Sample, Status, Telemetry, Vitals

STREAM = "00000000000000aa"
Readings = dict[str, dict[str, float | None]]


@dataclass
class Speaker:
    """Makes the messages of one machine."""

    clock: Clock
    name: str = "attic"
    org: str = "home"
    session: int = 1
    stream: str = STREAM
    dropped: int = 0
    vitals: Vitals = field(default_factory=lambda: Vitals(cpu_percent=10.0, memory_percent=20.0, disk_percent=30.0))

    def status(
        self, reason: OfflineReason | None = None, *, session: int | None = None, interval_seconds: float = 10.0
    ) -> Message:
        status = Status(
            state="offline" if reason else "online",
            reason=reason,
            session=session or self.session,
            at=self.clock.now(),
            interval_seconds=interval_seconds,
        )
        return self._on(topics.STATUS, status.encode())

    def info(self, **facts: object) -> Message:
        values = {"hostname": "attic.example", "agent_version": "1", "python_version": "3", "interval_seconds": 10.0}
        info = Info.model_validate({**values, "session": self.session, "at": self.clock.now(), **facts})
        return self._on(topics.INFO, info.encode())

    def telemetry(
        self, seq: int, *, oldest_seq: int | None = None, vitals: Vitals | None = None, series: Readings | None = None
    ) -> Message:
        telemetry = Telemetry(
            seq=seq,
            sampled_at=self.clock.now(),
            vitals=vitals or self.vitals,
            session=self.session,
            stream=self.stream,
            oldest_seq=oldest_seq or seq,
            dropped=self.dropped,
            series=series or {},
        )
        return self._on(topics.TELEMETRY, telemetry.encode())

    def backfill(self, *numbers: int, series: Mapping[int, Readings] | None = None) -> Message:
        """A second apart, the last one now. `series`: those of the samples that have any."""
        samples = [
            Sample(
                seq=seq,
                sampled_at=self.clock.now() - 1000 * (numbers[-1] - seq),
                vitals=self.vitals,
                series=(series or {}).get(seq, {}),
            )
            for seq in numbers
        ]
        batch = Backfill.of(
            samples, session=self.session, stream=self.stream, oldest_seq=numbers[0], dropped=self.dropped
        )
        return self._on(topics.BACKFILL, batch.encode())

    def facts(self, kind: str, items: Mapping[str, object] = {}, *, truncated: int = 0, **named: object) -> Message:
        """Returns a list of facts; its items are `{"health": …, "fields": {…}}` by key."""
        content = {"session": self.session, "at": self.clock.now(), "items": {**items, **named}, "truncated": truncated}
        payload = FactsMessage.model_validate(content).encode()
        return Message(topics.FACTS.at(org=self.org, machine=self.name, kind=kind), payload, 1, retain=True)

    def no_facts(self, kind: str) -> Message:
        return Message(topics.FACTS.at(org=self.org, machine=self.name, kind=kind), b"", 1, retain=True)

    def _on(self, topic: topics.Topic, payload: bytes) -> Message:
        return Message(topic.at(org=self.org, machine=self.name), payload, topic.qos, topic.retain)


@dataclass
class Bench:
    """An ingestor on a broker in memory, with a client to talk to it."""

    broker: MemoryBroker
    ingestor: Ingestor
    client: MemoryTransport
    clock: Clock

    def publish(self, *messages: Message) -> None:
        for message in messages:
            assert self.client.publish(message)

    def step(self, seconds: float = 0.0, *, steps: int = 1) -> None:
        for _ in range(steps):
            self.clock.advance(seconds)
            self.ingestor.step()


def open_bench(fleet: Engine, clock: Clock, broker: MemoryBroker, *, name: str = "ingestor") -> Bench:
    """An ingestor on this database and broker that has not done anything yet."""
    ingestor = Ingestor(
        store=Store(fleet, name=name, dead_letter_max=100),
        open_transport=lambda *, subscriptions: MemoryTransport(
            broker, client_id=f"_{name}", subscriptions=subscriptions, pass_time=lambda _: None
        ),
        batch_max=100,
        ack_seconds=2.0,
        clock=clock,
    )
    client = MemoryTransport(
        broker,
        client_id=f"client of {name}",
        subscriptions=[(topics.ACK.filter(), 0), (topics.ORG_CONFIG.filter(), 1)],
        pass_time=lambda _: None,
    )
    client.receive(100, 0)
    return Bench(broker, ingestor, client, clock)
