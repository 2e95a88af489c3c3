"""Machines whose samples arrive late, and the alerts that the same samples give on time."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from alert_rules import cpu_rule
from clocks import Clock
from ingestion import STREAM, Readings
from sqlalchemy import Engine, select

from broker.client.transport import Message
from schemas.alerts.condition import resolve
from schemas.alerts.readings import SamplePoint
from schemas.alerts.replay import Replay
from schemas.alerts.timeline import collect
from schemas.contract import topics
from schemas.contract.alert_rules import AlertRule
from schemas.contract.backfill import Backfill
from schemas.contract.messages import Sample, Telemetry, Vitals
from schemas.database import tables

HOLD = 45_000
RULES = [
    cpu_rule("hot", for_seconds=40.0),
    cpu_rule("wide", threshold=80.0, clear_threshold=40.0, for_seconds=20.0, clear_seconds=0.0, severity="critical"),
    cpu_rule("idle", kind="below", threshold=20.0, for_seconds=0.0),
    AlertRule(name="gone", title="Gone", kind="no-data", metric="cpu_percent", for_seconds=25),
    cpu_rule("full", metric="disk_used_percent", device="/d*", for_seconds=90.0, clear_threshold=80.0),
    cpu_rule("empty", kind="below", metric="disk_used_percent", device="*", threshold=10.0, for_seconds=0.0),
    cpu_rule("fast", kind="rate-above", metric="disk_read_bytes", device="sda", threshold=1.0, for_seconds=0.0),
]


def rows(fleet: Engine, machine: str = "attic") -> list[Any]:
    joined = tables.alert.join(tables.machine).join(tables.org)
    query = select(tables.alert).select_from(joined).order_by(tables.alert.c.started_at)
    with fleet.connect() as connection:
        return connection.execute(query.where(tables.machine.c.name == machine, tables.org.c.name == "home")).all()  # type: ignore[return-value]


@dataclass
class Outbox:
    """A machine that takes a sample every ten seconds, and sends it now or later."""

    name: str
    clock: Clock
    taken: list[Sample] = field(default_factory=list)
    waiting: list[Sample] = field(default_factory=list)

    def take(self, series: Readings | None = None, /, **vitals: float | None) -> Sample:
        sample = Sample(
            seq=len(self.taken) + 1,
            sampled_at=self.clock.now(),
            vitals=Vitals.model_validate(vitals),
            series=series or {},
        )
        self.taken.append(sample)
        return sample

    def live(self, sample: Sample) -> Message:
        values = {**dict(sample), "session": 1, "stream": STREAM, "oldest_seq": 1}
        return self._on(topics.TELEMETRY, Telemetry.model_validate(values).encode())

    def late(self, samples: list[Sample]) -> Message:
        ascending = sorted(samples, key=lambda sample: sample.seq)
        batch = Backfill.of(ascending, session=1, stream=STREAM, oldest_seq=1, dropped=0)
        return self._on(topics.BACKFILL, batch.encode())

    def _on(self, topic: topics.Topic, payload: bytes) -> Message:
        return Message(topic.at(org="home", machine=self.name), payload, topic.qos, topic.retain)


class Pattern:
    """A machine whose readings and connection follow a random pattern."""

    def __init__(self, outbox: Outbox, chance: random.Random) -> None:
        self.outbox = outbox
        self.chance = chance
        self.readings, self.data, self.root = values(chance), values(chance), values(chance)
        self.read_bytes = 0
        self.connected = True

    def send(self) -> Iterator[Message]:
        """Take a sample; send it, keep it, or send some of those kept, in any order."""
        outbox, chance = self.outbox, self.chance
        sample = outbox.take(self.series(), cpu_percent=next(self.readings))
        if chance.random() < 0.08:
            self.connected = not self.connected
        if not self.connected or chance.random() < 0.05:
            outbox.waiting.append(sample)
        else:
            yield outbox.live(sample)
        if self.connected and outbox.waiting and chance.random() < 0.3:
            chance.shuffle(outbox.waiting)
            yield outbox.late([outbox.waiting.pop() for _ in range(chance.randint(1, len(outbox.waiting)))])

    def series(self) -> Readings | None:
        """Readings of devices once a minute; a device comes and goes, a counter starts again."""
        if len(self.outbox.taken) % 6:
            return None
        self.read_bytes = 0 if self.chance.random() < 0.1 else self.read_bytes + self.chance.choice([0, 0, 30, 120])
        used = {"/data": next(self.data), "/": next(self.root)}
        if self.chance.random() < 0.1:
            del used["/data"]
        return {"disk_used_percent": used, "disk_read_bytes": {"sda": self.read_bytes, "sdb": 0}}


def values(chance: random.Random) -> Iterator[float | None]:
    """Runs of a value, as a machine's CPU has them."""
    while True:
        value = chance.choice([5.0, 15.0, 50.0, 85.0, 95.0, None])
        for _ in range(chance.randint(1, 10)):
            yield value


def expected(outbox: Outbox, now: int) -> dict[str, list[tuple[int, int | None]]]:
    """The alerts that the samples give when all of them are there."""
    replay = Replay([resolve(rule) for rule in RULES], HOLD)
    for sample in outbox.taken:
        replay.add(SamplePoint(sample.sampled_at, sample.vitals, {}, 0, sample.series))
    for name, timeline in replay.timelines.items():
        if (decision := timeline.advance(now)) is not None:
            collect(replay.spans[name], [decision])
    return {name: [(span.started_at, span.ended_at) for span in spans] for name, spans in replay.spans.items()}


def recorded(fleet: Engine, outbox: Outbox) -> dict[str, list[tuple[int, int | None]]]:
    """The alerts of a machine in the database, as `expected` returns them."""
    found: dict[str, list[tuple[int, int | None]]] = {rule.name: [] for rule in RULES}
    for row in rows(fleet, outbox.name):
        found[row.rule].append((row.started_at, row.ended_at))
    return found
