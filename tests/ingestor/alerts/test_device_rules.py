"""Rules about devices, from the message of a machine to the alert that names the device."""

from collections.abc import Callable
from typing import Any

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from ingestion import Bench, Readings, Speaker
from sqlalchemy import Engine, select

from ingestor.admin import rules
from schemas.contract import topics
from schemas.contract.administration import SetRule
from schemas.contract.alert_rules import AlertRule
from schemas.contract.alerts import AlertMessage
from schemas.database import tables
from schemas.database.rules.preview import preview_rule

FULL = topics.ALERT.at(org="home", machine="attic", rule="full")
DATA = cpu_rule("full", title="Disk nearly full", metric="disk_used_percent", device="/data*", clear_seconds=0.0)


def used(**percent: float) -> Readings:
    return {"disk_used_percent": {f"/{name}": value for name, value in percent.items()}}


class Reporter:
    """The attic: a sample every ten seconds, with series once a minute."""

    def __init__(self, bench: Bench, speaker: Speaker) -> None:
        self.bench, self.speaker, self.seq = bench, speaker, 0
        bench.publish(speaker.status(), speaker.info())
        bench.step()

    def minutes(self, number: int, series: Readings) -> None:
        for each in range(6 * number):
            self.seq += 1
            self.bench.publish(self.speaker.telemetry(self.seq, series={} if each % 6 else series))
            self.bench.step()
            self.bench.step(10.0)


@pytest.fixture
def attic(bench: Bench, speaker: Speaker, fleet: Engine) -> Reporter:
    set_rules(fleet, DATA)
    bench.step(2.0)
    return Reporter(bench, speaker)


def rows(fleet: Engine) -> list[Any]:
    with fleet.connect() as connection:
        return list(connection.execute(select(tables.alert).order_by(tables.alert.c.id)))


def test_a_full_mount_is_an_alert_that_names_it_and_ends_when_it_has_room(
    attic: Reporter, fleet: Engine, clock: Clock
) -> None:
    attic.minutes(2, used(data=40.0, data2=50.0, var=99.0))
    assert rows(fleet) == []
    began = clock.now()
    attic.minutes(2, used(data=93.4, data2=91.0, var=99.0))
    message = AlertMessage.decode(attic.bench.broker.retained[FULL].payload)
    assert (message.detail, message.value, message.unit, message.since) == ("/data: 93 %", 93.4, "percent", began)
    ended = clock.now()
    attic.minutes(1, used(data=89.0, data2=50.0, var=99.0))
    (row,) = rows(fleet)
    assert (row.rule, row.started_at, row.ended_at) == ("full", began, ended)
    assert FULL not in attic.bench.broker.retained


def test_an_alert_lasts_while_the_machine_sends_samples_without_series(attic: Reporter, fleet: Engine) -> None:
    attic.minutes(2, used(data=93.0))
    attic.minutes(5, {})
    assert [row.ended_at for row in rows(fleet)] == [None]


def test_a_condition_that_began_before_a_restart_has_its_true_begin(
    attic: Reporter, fleet: Engine, clock: Clock, make_bench: Callable[[], Bench]
) -> None:
    attic.minutes(1, used(data=40.0))
    began = clock.now()
    attic.bench.publish(attic.speaker.telemetry(attic.seq + 1, series=used(data=95.0)))
    attic.bench.step()
    attic.bench.step(5.0)
    attic.bench.ingestor.stop()
    attic.bench, attic.seq = make_bench(), attic.seq + 1
    attic.bench.step(1.0, steps=4)
    attic.minutes(2, used(data=95.0))
    assert [(row.started_at, row.detail) for row in rows(fleet)] == [(began, "/data: 95 %")]


def test_late_series_correct_alerts(attic: Reporter, fleet: Engine, clock: Clock) -> None:
    attic.minutes(1, used(data=40.0))
    start, numbers = clock.now(), list(range(attic.seq + 1, attic.seq + 601))
    clock.advance(600)
    full = {
        seq: used(data=96.0 if 120 <= index < 420 else 40.0) for index, seq in enumerate(numbers) if index % 60 == 0
    }
    attic.bench.publish(
        attic.speaker.backfill(*numbers[:300], series={seq: full[seq] for seq in full if seq < numbers[300]}),
    )
    attic.seq = numbers[-1]
    attic.bench.step(1.0, steps=5)
    assert start < clock.now()
    (row,) = [row for row in rows(fleet) if row.rule == "full"]
    assert (row.detail, row.ended_at) == ("/data: 96 %", None)


def test_a_rule_on_a_metric_of_series_without_a_pattern_is_about_any_device(attic: Reporter, fleet: Engine) -> None:
    attic.minutes(1, used(data=40.0))
    for rule in (cpu_rule("any", metric="disk_used_percent"), cpu_rule("cpu"), cpu_rule("fan", metric="fan_rpm")):
        rules.change(fleet, "home", SetRule(rule=rule), 1)
    with fleet.connect() as connection:
        found = {row.name: row.device for row in connection.execute(select(tables.alert_rule))}
    assert (found["any"], found["cpu"], found["fan"]) == ("*", "", "")


def test_the_preview_lists_devices_now_and_in_the_past(attic: Reporter, fleet: Engine, clock: Clock) -> None:
    set_rules(fleet)
    attic.minutes(3, used(data=95.0))
    attic.minutes(1, used(data=40.0))
    attic.bench.step(1800.0, steps=4)
    attic.minutes(1, used(data=40.0))
    attic.minutes(3, used(data=91.2, data2=97.0))
    found = preview_rule(fleet, "home", DATA, now=clock.now())
    assert (found.selected, found.now, found.complete) == (1, (("attic", "/data2: 97 %"),), True)
    assert [(each.detail, each.ended_at is None) for each in found.alerts] == [
        ("/data2: 97 %", True),
        ("/data: 95 %", False),
    ]
    nothing: AlertRule = DATA.model_copy(update={"device": "/home"})
    assert preview_rule(fleet, "home", nothing, now=clock.now()).alerts == ()
