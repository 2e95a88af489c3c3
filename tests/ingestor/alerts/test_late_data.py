"""Late data: alerts get their true begin and end, and one that lies in the past is published once, as past."""

import random

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from ingestion import Bench, Speaker
from lateness import RULES, Outbox, Pattern, expected, recorded, rows
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from broker.client.transport import Message
from ingestor.admin.access import add_principal
from ingestor.alerts.late_data import SETTLE_SECONDS
from schemas.contract import topics
from schemas.contract.alerts import ResolvedMessage

MACHINES = 100
SAMPLES = 150
ATTIC = {"org": "home", "machine": "attic"}


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
        assert recorded(fleet, outbox) == expected(outbox, clock.now()), outbox.name
