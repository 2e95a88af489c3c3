"""Late data: alerts get their true begin and end, and one that lies in the past is published once, as past."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from ingestion import STREAM, Bench, Readings, Speaker
from sqlalchemy import Engine, select

from broker.access.policy import Principal, Role
from broker.client.transport import Message
from ingestor.admin.access import add_principal
from ingestor.alerts.late_data import SETTLE_SECONDS
from schemas.alerts.condition import resolve
from schemas.alerts.readings import SamplePoint
from schemas.alerts.replay import Replay
from schemas.alerts.timeline import collect
from schemas.contract import topics
from schemas.contract.alert_rules import AlertRule
from schemas.contract.alerts import ResolvedMessage
from schemas.contract.backfill import Backfill
from schemas.contract.messages import Sample, Telemetry, Vitals
from schemas.database import tables

HOLD = 45_000
MACHINES = 100
SAMPLES = 150
RULES = [
    cpu_rule("hot", for_seconds=40.0),
    cpu_rule("wide", threshold=80.0, clear_threshold=40.0, for_seconds=20.0, clear_seconds=0.0, severity="critical"),
    cpu_rule("idle", kind="below", threshold=20.0, for_seconds=0.0),
    AlertRule(name="gone", title="Gone", kind="no-data", metric="cpu_percent", for_seconds=25),
    cpu_rule("full", metric="disk_used_percent", device="/d*", for_seconds=90.0, clear_threshold=80.0),
    cpu_rule("empty", kind="below", metric="disk_used_percent", device="*", threshold=10.0, for_seconds=0.0),
    cpu_rule("fast", kind="rate-above", metric="disk_read_bytes", device="sda", threshold=1.0, for_seconds=0.0),
]
ATTIC = {"org": "home", "machine": "attic"}


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


@pytest.fixture
def attic(bench: Bench, speaker: Speaker, clock: Clock) -> Outbox:
    bench.publish(speaker.status(), speaker.info())
    bench.step()
    return Outbox("attic", clock)


def be_cut_off_for_an_hour(bench: Bench, attic: Outbox) -> tuple[int, int]:
    """Take samples for an hour without a connection, with a full disk for 20 minutes; return when that was."""
    bench.publish(attic.live(attic.take(disk_percent=50.0)))
    times = []
    for number in range(360):
        bench.step(10.0)
        full = 100 <= number < 220
        attic.waiting.append(attic.take(disk_percent=99.0 if full else 50.0))
        if number in (100, 220):
            times.append(attic.waiting[-1].sampled_at)
    return times[0], times[1]


def test_a_full_disk_during_an_outage_is_one_alert_with_its_true_times_published_as_past(
    bench: Bench, attic: Outbox, fleet: Engine
) -> None:
    began, ended = be_cut_off_for_an_hour(bench, attic)
    heard: list[Message] = []
    bench.client.subscribe([(topics.ALERT.filter(), 1), (topics.RESOLVED.filter(), 1)])
    bench.publish(attic.live(attic.take(disk_percent=50.0)))
    for start in range(0, 360, 90):
        bench.publish(attic.late(attic.waiting[start : start + 90]))
        bench.step(0.5)
        heard += [event for event in bench.client.receive(1000, 0) if isinstance(event, Message)]
    bench.step(0.5, steps=round(SETTLE_SECONDS / 0.5) + 4)
    heard += [event for event in bench.client.receive(1000, 0) if isinstance(event, Message)]
    found = [row for row in rows(fleet) if row.rule == "disk"]
    assert [(row.started_at, row.ended_at, row.past, row.detail) for row in found] == [(began, ended, True, "99 %")]
    about = [message for message in heard if message.topic.endswith("/disk") and message.payload]
    assert [message.topic for message in about] == [topics.RESOLVED.at(**ATTIC, rule="disk")]
    told = ResolvedMessage.decode(about[0].payload)
    assert (told.since, told.until, told.past, told.id) == (began, ended, True, found[0].id)


def test_many_late_samples_are_evaluated_in_steps_of_few_with_the_same_result(
    bench: Bench, attic: Outbox, fleet: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.storage.alert_store.POINTS_MAX", 7)
    monkeypatch.setattr("ingestor.alerts.late_data.POINTS_MAX", 7)
    began, ended = be_cut_off_for_an_hour(bench, attic)
    bench.publish(attic.live(attic.take(disk_percent=50.0)))
    for start in range(0, 360, 90):
        bench.publish(attic.late(attic.waiting[start : start + 90]))
        bench.step(0.5)
    bench.step(0.5, steps=80)
    found = [row for row in rows(fleet) if row.rule == "disk"]
    assert [(row.started_at, row.ended_at, row.past) for row in found] == [(began, ended, True)]


def test_the_begin_of_an_active_alert_is_corrected_and_the_alert_stays_the_same(
    bench: Bench, attic: Outbox, fleet: Engine
) -> None:
    set_rules(fleet, cpu_rule())
    bench.step(1.0, steps=2)
    missing = []
    for number in range(30):
        sample = attic.take(cpu_percent=95.0)
        if 1 <= number < 8:
            missing.append(sample)  # a gap of 80 seconds: nobody knows whether it lasted
        else:
            bench.publish(attic.live(sample))
        bench.step(10.0)
    (before,) = rows(fleet)
    assert before.started_at == attic.taken[8].sampled_at
    bench.publish(attic.late(missing))
    bench.step(1.0, steps=4)
    (after,) = rows(fleet)
    assert (after.id, after.started_at, after.ended_at) == (before.id, attic.taken[0].sampled_at, None)


def test_an_alert_whose_condition_did_not_last_is_retracted(bench: Bench, attic: Outbox, fleet: Engine) -> None:
    set_rules(fleet, cpu_rule(for_seconds=30.0))
    bench.step(1.0, steps=2)
    bench.publish(attic.live(attic.take(cpu_percent=95.0)))
    bench.step(10.0)
    cut_off = [attic.take(cpu_percent=5.0)]
    bench.step(1.0, steps=25)
    assert [row.rule for row in rows(fleet)] == ["hot"], "its last sample counts for 45 seconds"
    bench.publish(attic.late(cut_off))
    bench.step(1.0, steps=4)
    assert rows(fleet) == []
    kept = bench.broker.retained
    assert topics.ALERT.at(**ATTIC, rule="hot") not in kept
    assert ResolvedMessage.decode(kept[topics.RESOLVED.at(**ATTIC, rule="hot")].payload).rule == "hot"


def test_late_samples_that_change_nothing_are_not_evaluated_again(
    bench: Bench, attic: Outbox, fleet: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[int] = []
    monkeypatch.setattr(bench.ingestor._monitor._alerts._late, "mark", lambda _watch, at: marked.append(at))
    well: dict[str, float | None] = {"cpu_percent": 5.0, "memory_percent": 5.0, "disk_percent": 5.0}
    samples = []
    for _ in range(10):
        samples.append(attic.take(**well))
        bench.step(10.0)
    bench.publish(attic.live(attic.take(**well)), attic.late(samples))
    bench.step(1.0, steps=3)
    assert marked == []
    assert rows(fleet) == []


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


def test_a_hundred_patterns_of_lateness_give_the_alerts_of_the_same_data_on_time(
    bench: Bench, fleet: Engine, clock: Clock
) -> None:
    set_rules(fleet, *RULES)
    outboxes = [Outbox(f"m{number}", clock) for number in range(MACHINES)]
    for outbox in outboxes:
        add_principal(fleet, Principal(Role.MACHINE, "home", outbox.name), "made-up", now=clock.now)
    bench.publish(*(Speaker(clock, name=outbox.name).status() for outbox in outboxes))
    bench.step(2.0)
    patterns = [Pattern(outbox, random.Random(number)) for number, outbox in enumerate(outboxes)]  # noqa: S311
    for _ in range(SAMPLES):
        bench.step(10.0)
        for pattern in patterns:
            bench.publish(*pattern.send())
        bench.step()
    bench.publish(*(outbox.late(outbox.waiting) for outbox in outboxes if outbox.waiting))
    bench.step(0.01, steps=50)
    bench.step(SETTLE_SECONDS)
    bench.step(0.01, steps=2 * MACHINES)
    for outbox in outboxes:
        found: dict[str, list[tuple[int, int | None]]] = {rule.name: [] for rule in RULES}
        for row in rows(fleet, outbox.name):
            found[row.rule].append((row.started_at, row.ended_at))
        assert found == expected(outbox, clock.now()), outbox.name
