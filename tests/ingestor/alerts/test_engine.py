"""Alerts on a real database and a broker in memory: when they begin and end, and what the broker retains."""

from collections.abc import Callable
from typing import Any

import pytest
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, delete, select

from broker.access.policy import Principal, Role
from ingestor.admin import access
from ingestor.domain.presence import WILL_GRACE_SECONDS
from schemas.contract import topics
from schemas.contract.alerts import AlertMessage
from schemas.contract.messages import Vitals
from schemas.database import tables

FULL = Vitals(cpu_percent=10.0, memory_percent=20.0, disk_percent=99.0)
ATTIC = {"org": "home", "machine": "attic"}
DISK = topics.ALERT.at(**ATTIC, rule="disk")
AWAY = topics.ALERT.at(**ATTIC, rule="away")


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def rows(fleet: Engine) -> list[Any]:
    with fleet.connect() as connection:
        return list(connection.execute(select(tables.alert).order_by(tables.alert.c.id)))


def retained(bench: Bench) -> dict[str, AlertMessage]:
    """The alerts that the broker keeps."""
    kept = bench.broker.retained
    return {topic: AlertMessage.decode(kept[topic].payload) for topic in kept if "/_alerts/" in topic}


class Attic:
    """The attic at home, which reports every five seconds."""

    def __init__(self, bench: Bench, speaker: Speaker) -> None:
        self.bench = bench
        self.speaker = speaker
        self.seq = 0
        bench.publish(speaker.status(), speaker.info())
        bench.step()

    def report(self, seconds: float, vitals: Vitals | None = None) -> None:
        for _ in range(round(seconds / 5)):
            self.seq += 1
            self.bench.publish(self.speaker.telemetry(self.seq, vitals=vitals))
            self.wait(5)

    def wait(self, seconds: float) -> None:
        """Let time pass in silence."""
        self.bench.step(0.5, steps=round(seconds / 0.5))


@pytest.fixture
def attic(bench: Bench, speaker: Speaker) -> Attic:
    return Attic(bench, speaker)


def test_an_alert_begins_when_it_has_lasted_and_says_since_when(attic: Attic, fleet: Engine, clock: Clock) -> None:
    began = clock.now()
    attic.report(50, FULL)
    assert retained(attic.bench) == {}
    attic.report(20, FULL)
    alert = retained(attic.bench)[DISK]
    assert (alert.rule, alert.severity, alert.title, alert.detail) == ("disk", "critical", "Disk nearly full", "99 %")
    assert alert.since == began
    assert [(row.rule, row.started_at, row.ended_at) for row in rows(fleet)] == [("disk", alert.since, None)]


def test_a_peak_is_no_alert(attic: Attic, fleet: Engine) -> None:
    for _ in range(3):
        attic.report(45, FULL)
        attic.report(15)
    assert (retained(attic.bench), rows(fleet)) == ({}, [])


def test_an_alert_ends_when_it_has_been_over_for_a_while_and_is_cleared(attic: Attic, fleet: Engine) -> None:
    attic.report(80, FULL)
    attic.report(40)
    assert DISK in retained(attic.bench)
    attic.report(40, FULL)  # it was not over
    attic.report(55)
    assert DISK in retained(attic.bench)
    attic.report(20)
    assert retained(attic.bench) == {}
    (row,) = rows(fleet)
    assert row.ended_at > row.started_at


def test_what_a_machine_that_is_gone_had_last_stays_said(attic: Attic) -> None:
    attic.report(80, FULL)
    attic.bench.publish(attic.speaker.status("stopped"))
    attic.wait(90)
    assert set(retained(attic.bench)) == {DISK}


def test_a_lost_machine_is_away_after_a_minute_and_no_more_at_its_first_message(attic: Attic) -> None:
    attic.report(10)
    attic.bench.publish(attic.speaker.status("lost"))
    attic.wait(WILL_GRACE_SECONDS + 55)
    assert retained(attic.bench) == {}
    attic.wait(6)
    assert retained(attic.bench)[AWAY].detail == "the connection was lost"
    attic.report(5)
    assert retained(attic.bench) == {}


def test_who_reconnects_within_a_minute_was_not_away(attic: Attic, fleet: Engine) -> None:
    for _ in range(3):
        attic.bench.publish(attic.speaker.status("lost"))
        attic.wait(40)
        attic.speaker.session += 1
        attic.bench.publish(attic.speaker.status())
        attic.wait(10)
    assert rows(fleet) == []


def test_after_a_restart_alerts_last_and_what_the_broker_keeps_is_what_the_database_says(
    attic: Attic, make_bench: Callable[[], Bench], fleet: Engine
) -> None:
    attic.report(80, FULL)
    before = retained(attic.bench)
    attic.bench.broker.retained.pop(DISK)  # the broker forgot it
    second = make_bench()
    assert retained(second) == before
    assert len(rows(fleet)) == 1


def test_an_end_that_was_committed_but_not_said_is_said_after_a_restart(
    attic: Attic, make_bench: Callable[[], Bench]
) -> None:
    attic.report(80, FULL)
    kept = attic.bench.broker.retained[DISK]
    attic.report(80)
    attic.bench.broker.retained[DISK] = kept
    assert retained(make_bench()) == {}


def test_a_revoked_machine_has_no_alerts_any_more(attic: Attic, fleet: Engine, clock: Clock) -> None:
    attic.report(80, FULL)
    access.revoke_principal(fleet, "home.attic", now=clock.now)
    attic.wait(5)
    assert retained(attic.bench) == {}
    assert rows(fleet)[0].ended_at is not None


def test_what_is_retained_of_a_machine_that_was_removed_is_cleared(
    attic: Attic, fleet: Engine, make_bench: Callable[[], Bench], clock: Clock
) -> None:
    attic.report(80, FULL)
    access.revoke_principal(fleet, "home.attic", now=clock.now)
    with fleet.begin() as connection:
        connection.execute(delete(tables.machine))
    second = make_bench()
    second.step(1.0, steps=3)
    assert retained(second) == {}


def test_many_machines_that_go_together_are_an_incident_and_no_alerts(
    bench: Bench, fleet: Engine, clock: Clock
) -> None:
    speakers = [Speaker(clock, name=f"m{i}") for i in range(20)]
    for speaker in speakers:
        access.add_principal(fleet, Principal(Role.MACHINE, "home", speaker.name), "made-up", now=clock.now)
    bench.publish(*(speaker.status() for speaker in speakers))
    bench.step(1.0, steps=6)
    bench.publish(*(speaker.status("lost") for speaker in speakers))
    bench.step(1.0, steps=200)
    with fleet.connect() as connection:
        assert connection.execute(select(tables.incident.c.kind)).scalars().all() == ["mass-silence"]
    assert rows(fleet) == []
    assert retained(bench) == {}
