"""Alerts that are open when an ingestor starts, and machines that were retired: nothing stays open for ever."""

from collections.abc import Callable
from typing import Any

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from facts import state
from ingestion import Bench, Speaker
from sqlalchemy import Engine, insert, select

from broker.client.transport import Message
from ingestor.admin import access, silences
from ingestor.alerts import late_data
from schemas.contract import topics
from schemas.contract.alert_rules import AlertRule
from schemas.contract.alerts import AddSilence, ResolvedMessage
from schemas.contract.messages import Vitals
from schemas.database import tables

ATTIC = {"org": "home", "machine": "attic"}
BUSY = Vitals(cpu_percent=99.0, memory_percent=20.0, disk_percent=30.0)
VERSION = AlertRule(name="version", title="New", kind="changed", metric="agent_version", clear_seconds=60)
PACKAGE = AlertRule(name="kernel", title="New", kind="changed", metric="packages", device="linux-*", clear_seconds=60)
LONG_AWAY = AlertRule(name="away", title="Away", kind="away", clear_seconds=60)
NOISE = AlertRule(name="noise", title="Rejected", kind="rejected", threshold=1, clear_seconds=0)
SOON = AlertRule(name="soon", title="Full soon", kind="disk-full", threshold=7.0, clear_seconds=0)
INVALID = Message(topics.TELEMETRY.at(**ATTIC), b"{", 1, retain=False)


def rows(fleet: Engine) -> list[Any]:
    with fleet.connect() as connection:
        return list(connection.execute(select(tables.alert).order_by(tables.alert.c.id)))


def is_open(fleet: Engine) -> list[bool]:
    return [row.ended_at is None for row in rows(fleet)]


class Reporter:
    """The attic at home, which reports every ten seconds."""

    def __init__(self, bench: Bench, speaker: Speaker) -> None:
        self.bench, self.speaker, self.seq = bench, speaker, 0
        bench.publish(speaker.status(), speaker.info())
        bench.step()

    def report(self, seconds: float, vitals: Vitals | None = None) -> None:
        for _ in range(round(seconds / 10)):
            self.seq += 1
            self.bench.publish(self.speaker.telemetry(self.seq, vitals=vitals))
            self.bench.step(5.0, steps=2)


@pytest.fixture
def attic(bench: Bench, speaker: Speaker) -> Reporter:
    return Reporter(bench, speaker)


def get_a_version(attic: Reporter) -> None:
    attic.bench.publish(attic.speaker.info(agent_version="2"))
    attic.report(20)


def get_a_package(attic: Reporter) -> None:
    for version in ("6.1", "6.12"):
        items = {"linux-image": {"fields": {"version": version}}}
        state(attic.bench, attic.speaker.facts("packages", items))
    attic.report(20)


def come_back(attic: Reporter) -> None:
    attic.bench.publish(attic.speaker.status("lost"))
    attic.bench.step(1.0, steps=20)
    attic.report(20)


def send_what_is_rejected(attic: Reporter) -> None:
    attic.bench.publish(INVALID)
    attic.report(10)
    attic.bench.clock.advance(7200)


@pytest.mark.parametrize(
    ("rule", "happen"),
    [
        (VERSION, get_a_version),
        (PACKAGE, get_a_package),
        (LONG_AWAY, come_back),
        (NOISE, send_what_is_rejected),
    ],
    ids=["version", "facts", "away", "rejected"],
)
def test_an_alert_ends_although_the_ingestor_restarts_before_its_end(
    attic: Reporter, fleet: Engine, make_bench: Callable[[], Bench], rule: AlertRule, happen: Callable[[Reporter], None]
) -> None:
    set_rules(fleet, rule)
    attic.report(10)
    happen(attic)
    assert is_open(fleet) == [True]
    attic.bench = make_bench()
    attic.report(70)
    ((began, ended),) = [(row.started_at, row.ended_at) for row in rows(fleet)]
    assert ended is not None
    if rule.kind == "changed":
        assert ended - began == 60_000


@pytest.mark.parametrize("threshold", [98.0, 99.5])
def test_an_alert_whose_rule_was_changed_while_no_ingestor_ran_is_withdrawn(
    attic: Reporter, fleet: Engine, clock: Clock, make_bench: Callable[[], Bench], threshold: float
) -> None:
    set_rules(fleet, cpu_rule())
    attic.report(70, BUSY)
    assert is_open(fleet) == [True]
    clock.advance(5)
    set_rules(fleet, cpu_rule(threshold=threshold), at=clock.now())
    attic.bench = make_bench()
    attic.report(80, BUSY)
    assert is_open(fleet) == ([False, True] if threshold < 99 else [False])
    assert rows(fleet)[0].withdrawn


def forecast(fleet: Engine, clock: Clock) -> None:
    """Record that the disk of the attic is full in three days."""
    values = {"machine_id": 1, "outlook": "full", "full_at": clock.now() + 3 * 86_400_000, "made_at": clock.now()}
    with fleet.begin() as connection:
        connection.execute(tables.disk_forecast.delete())
        connection.execute(insert(tables.disk_forecast).values(values))


@pytest.mark.parametrize("rule", [SOON, NOISE], ids=["disk-full", "rejected"])
def test_a_machine_that_was_retired_gets_no_alert_from_any_signal(
    attic: Reporter, fleet: Engine, clock: Clock, rule: AlertRule
) -> None:
    set_rules(fleet)
    attic.report(20)
    access.revoke_principal(fleet, "home.attic", now=clock.now)
    attic.bench.step(1.0, steps=5)
    forecast(fleet, clock)
    set_rules(fleet, rule, at=clock.now())
    attic.bench.publish(INVALID)
    attic.bench.step(5.0, steps=16)
    assert rows(fleet) == []


def test_late_samples_of_a_machine_that_was_retired_meanwhile_begin_no_alert(
    attic: Reporter, fleet: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_data, "SETTLE_SECONDS", 20.0)
    set_rules(fleet, cpu_rule(for_seconds=0.0))
    attic.report(10)
    clock.advance(60)
    attic.speaker.vitals = BUSY
    late = attic.speaker.backfill(*range(attic.seq + 1, attic.seq + 40))
    clock.advance(100)
    attic.bench.publish(late)
    attic.bench.step(0.1, steps=2)
    access.revoke_principal(fleet, "home.attic", now=clock.now)
    attic.bench.step(2.0, steps=20)
    assert rows(fleet) == []


def test_an_alert_that_begins_and_ends_in_one_batch_is_silenced_like_any_other(
    attic: Reporter, fleet: Engine, clock: Clock
) -> None:
    set_rules(fleet, cpu_rule(for_seconds=0.0, clear_seconds=0.0))
    attic.report(10)
    until = clock.now() + 600_000
    silences.change(fleet, "home", AddSilence(reason="roof work", lifetime_seconds=600), "ann", clock.now())
    for number, vitals in ((2, BUSY), (3, None)):
        clock.advance(1)
        attic.bench.publish(attic.speaker.telemetry(number, vitals=vitals))
    attic.bench.step(1.0, steps=2)
    kept = attic.bench.broker.retained[topics.RESOLVED.at(**ATTIC, rule="hot")]
    message = ResolvedMessage.decode(kept.payload)
    assert (message.silenced_until, message.silence_reason) == (until, "roof work")


def test_a_rule_on_a_forecast_is_evaluated_when_it_is_changed_not_at_the_next_forecast(
    attic: Reporter, fleet: Engine, clock: Clock
) -> None:
    forecast(fleet, clock)
    set_rules(fleet, SOON)
    attic.report(10)
    assert is_open(fleet) == [True]
    set_rules(fleet, SOON.model_copy(update={"title": "Another title"}), at=clock.now())
    attic.report(10)
    assert is_open(fleet) == [False, True]
