"""Rules that are added, changed and removed, machines that move between them, and the kinds beside samples."""

import re
from collections.abc import Callable

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from ingestion import Bench, Speaker
from sqlalchemy import Engine, delete, insert, select, update

from broker.client.transport import Message
from ingestor.alerts import engine as alert_engine
from ingestor.alerts.rule import Facts, rule
from ingestor.storage.alert_store import read_rules
from schemas.contract import topics
from schemas.contract.alert_rules import DEFAULT_RULES, AlertRule
from schemas.contract.alerts import ResolvedMessage
from schemas.contract.messages import Vitals
from schemas.contract.org_config import OrgConfig
from schemas.database import tables

BUSY = Vitals(cpu_percent=99.0, memory_percent=20.0, disk_percent=30.0)


def withdrawn(fleet: Engine) -> list[bool]:
    with fleet.connect() as connection:
        return list(connection.scalars(select(tables.alert.c.withdrawn).order_by(tables.alert.c.id)))


def alerts(fleet: Engine) -> list[tuple[str, int, int | None]]:
    table = tables.alert
    with fleet.connect() as connection:
        query = select(table.c.rule, table.c.started_at, table.c.ended_at).order_by(table.c.id)
        return [tuple(row) for row in connection.execute(query)]


class Reporter:
    """The attic at home, which reports every five seconds."""

    def __init__(self, bench: Bench, speaker: Speaker) -> None:
        self.bench, self.speaker, self.seq = bench, speaker, 0
        bench.publish(speaker.status(), speaker.info(labels={"role": "db"}))
        bench.step()

    def report(self, seconds: float, vitals: Vitals | None = None) -> None:
        for _ in range(round(seconds / 5)):
            self.seq += 1
            self.bench.publish(self.speaker.telemetry(self.seq, vitals=vitals))
            self.bench.step(2.5, steps=2)


@pytest.fixture
def attic(bench: Bench, speaker: Speaker) -> Reporter:
    return Reporter(bench, speaker)


@pytest.mark.parametrize("change", ["removed", "disabled", "changed"])
def test_a_rule_that_is_removed_disabled_or_changed_ends_its_alerts(
    attic: Reporter, fleet: Engine, clock: Clock, change: str
) -> None:
    set_rules(fleet, cpu_rule())
    attic.report(70, BUSY)
    assert [(name, end) for name, _, end in alerts(fleet)] == [("hot", None)]
    after = {"removed": [], "disabled": [cpu_rule(enabled=False)], "changed": [cpu_rule(threshold=98.0)]}
    at = clock.now()
    set_rules(fleet, *after[change], at=at)
    attic.report(5, BUSY)
    ((_, _, ended),) = alerts(fleet)
    assert ended is not None
    assert ended >= at
    assert withdrawn(fleet) == [True]
    resolved = attic.bench.broker.retained[topics.RESOLVED.at(org="home", machine="attic", rule="hot")]
    assert ResolvedMessage.decode(resolved.payload).withdrawn
    attic.report(90, BUSY)
    found = [(name, start >= at) for name, start, _ in alerts(fleet)[1:]]
    assert found == ([("hot", True)] if change == "changed" else [])


def test_another_threshold_of_the_health_parameters_is_the_same_rule(attic: Reporter, fleet: Engine) -> None:
    attic.report(310, Vitals(cpu_percent=99.0, memory_percent=1.0, disk_percent=1.0))
    assert [name for name, _, _ in alerts(fleet)] == ["cpu"]
    config = OrgConfig().model_dump(mode="json")
    config["thresholds"]["component_critical"] = 0.0
    with fleet.begin() as connection:
        connection.execute(tables.org.update().values(config=config))
    attic.report(30, Vitals(cpu_percent=100.0, memory_percent=1.0, disk_percent=1.0))
    assert [end for _, _, end in alerts(fleet)] == [None]
    attic.report(80, Vitals(cpu_percent=99.0, memory_percent=1.0, disk_percent=1.0))
    assert [end is None for _, _, end in alerts(fleet)] == [False]
    assert withdrawn(fleet) == [False]


def test_a_machine_that_gets_other_labels_moves_between_rules(attic: Reporter, fleet: Engine) -> None:
    special = cpu_rule("hot-db", selector={"labels": {"role": "db"}})
    set_rules(fleet, cpu_rule("hot"), special)
    attic.report(70, BUSY)
    assert [(name, end) for name, _, end in alerts(fleet)] == [("hot-db", None)]
    attic.bench.publish(attic.speaker.info(labels={"role": "web"}))
    attic.report(75, BUSY)
    assert [(name, end is None) for name, _, end in alerts(fleet)] == [("hot-db", False), ("hot", True)]


def test_an_alert_of_a_rule_that_was_removed_meanwhile_ends_at_the_next_start(
    attic: Reporter, fleet: Engine, make_bench: Callable[[], Bench]
) -> None:
    set_rules(fleet, cpu_rule())
    attic.report(70, BUSY)
    set_rules(fleet)
    make_bench().step(0.5, steps=2)
    assert [end is None for _, _, end in alerts(fleet)] == [False]


def test_a_duration_that_had_begun_before_a_restart_counts(
    attic: Reporter, fleet: Engine, make_bench: Callable[[], Bench]
) -> None:
    set_rules(fleet, cpu_rule())
    attic.report(40, BUSY)
    began = attic.bench.clock.now() - 40_000
    attic.bench = make_bench()
    attic.report(30, BUSY)
    assert [(start, end) for _, start, end in alerts(fleet)] == [(began, None)]


def test_rejected_messages_are_counted_for_an_hour(attic: Reporter, fleet: Engine) -> None:
    set_rules(fleet, AlertRule(name="noise", title="Rejected messages", kind="rejected", threshold=3, clear_seconds=0))
    topic = topics.TELEMETRY.at(org="home", machine="attic")
    for _ in range(2):
        attic.bench.publish(Message(topic, b"{", 1, retain=False))
    attic.report(5)
    assert alerts(fleet) == []
    attic.bench.publish(Message(topic, b"{", 1, retain=False))
    attic.report(5)
    assert [(name, end) for name, _, end in alerts(fleet)] == [("noise", None)]
    attic.bench.step(30.0, steps=125)
    assert [end is None for _, _, end in alerts(fleet)] == [False]


def test_a_new_version_of_the_agent_is_an_alert_for_the_clear_duration(attic: Reporter, fleet: Engine) -> None:
    changed = AlertRule(name="version", title="New version", kind="changed", metric="agent_version", clear_seconds=60)
    set_rules(fleet, changed)
    attic.report(10)
    attic.bench.publish(attic.speaker.info(agent_version="2", labels={"role": "db"}))
    attic.report(50)
    assert [(name, end) for name, _, end in alerts(fleet)] == [("version", None)]
    attic.report(15)
    ((_, began, ended),) = alerts(fleet)
    assert ended is not None
    assert ended - began == 60_000


def test_a_disk_that_will_be_full_is_an_alert_by_its_stored_forecast(
    attic: Reporter, fleet: Engine, clock: Clock
) -> None:
    attic.report(60)
    forecast = {"outlook": "full", "full_at": clock.now() + 3 * 86_400_000, "made_at": clock.now()}
    with fleet.begin() as connection:
        connection.execute(delete(tables.disk_forecast))
        connection.execute(insert(tables.disk_forecast).values(machine_id=1, **forecast))
    set_rules(fleet, AlertRule(name="soon", title="Disk full soon", kind="disk-full", threshold=7.0, for_seconds=0))
    attic.report(60)
    with fleet.connect() as connection:
        assert connection.execute(select(tables.alert.c.rule, tables.alert.c.unit)).all() == [("soon", "days")]
        assert 2 < (connection.scalar(select(tables.alert.c.value)) or 0) < 4


def test_a_file_system_that_will_be_full_is_named_in_its_alert(attic: Reporter, fleet: Engine, clock: Clock) -> None:
    attic.report(60)
    with fleet.begin() as connection:
        for mount, days in (("/", 300), ("/data/a", 5), ("/data/b", 3)):
            values = {"machine_id": 1, "mount": mount, "outlook": "full", "full_at": clock.now() + days * 86_400_000}
            connection.execute(insert(tables.mount_forecast).values(values))
    soon = AlertRule(name="soon", title="Full soon", kind="disk-full", device="/data*", threshold=7.0)
    set_rules(fleet, soon, soon.model_copy(update={"name": "root", "device": "/"}))
    attic.report(60)
    with fleet.connect() as connection:
        (row,) = connection.execute(select(tables.alert.c.rule, tables.alert.c.unit, tables.alert.c.detail)).all()
    assert (row.rule, row.unit) == ("soon", "days")
    assert re.fullmatch(r"/data/b: full in (2\.9|3\.0) d", row.detail)


def test_a_rule_in_python_is_evaluated_and_one_in_the_database_replaces_it(attic: Reporter, fleet: Engine) -> None:
    @rule(title="Busy", severity="warning", after_seconds=10, over_after_seconds=10)
    def busy(facts: Facts) -> str | None:
        percent = facts.machine.latest.vitals.cpu_percent
        return None if percent is None else "busy" if percent > 50 else ""

    engine = attic.bench.ingestor._monitor._alerts
    shared = (engine._cache, attic.bench.ingestor._assignment, engine._configs, attic.bench.clock)
    made = alert_engine.AlertEngine(fleet, [busy], *shared, tick_seconds=2.5)
    attic.bench.ingestor._monitor._alerts = made
    made.load([], attic.bench.ingestor._monitor._incidents)
    attic.report(25, BUSY)
    assert [(name, end) for name, _, end in alerts(fleet)] == [("busy", None)]
    attic.report(25)
    assert [end is None for _, _, end in alerts(fleet)] == [False]
    set_rules(fleet, cpu_rule("busy", threshold=100.0))
    attic.report(60, BUSY)
    assert len(alerts(fleet)) == 1


def test_the_default_rules_find_nothing_of_a_machine_that_is_well(attic: Reporter, fleet: Engine) -> None:
    assert {each.kind for each in DEFAULT_RULES} == {"away", "clock", "above", "no-data"}
    attic.report(660)
    assert alerts(fleet) == []


def test_metrics_that_cannot_be_read_are_named_after_ten_minutes(attic: Reporter, fleet: Engine) -> None:
    attic.report(605, Vitals(cpu_percent=1.0))
    with fleet.connect() as connection:
        assert connection.execute(select(tables.alert.c.rule, tables.alert.c.detail)).all() == [
            ("unmeasured", "Memory, Disk")
        ]


def test_a_clock_that_is_wrong_for_five_minutes_is_an_alert(attic: Reporter, fleet: Engine, clock: Clock) -> None:
    behind = Speaker(clock, session=2)
    behind.clock = type("Behind", (), {"now": lambda _: clock.now() - 90_000, "monotonic": clock.monotonic})()
    attic.speaker = behind
    attic.bench.publish(behind.status())
    attic.report(340)
    assert [(name, end) for name, _, end in alerts(fleet)] == [("clock", None)]


def test_a_rule_that_cannot_be_read_is_named_in_the_log_and_the_others_are_read(
    fleet: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    set_rules(fleet, cpu_rule(), cpu_rule(name="of-a-later-version"))
    with fleet.begin() as connection:
        later = tables.alert_rule.c.name == "of-a-later-version"
        connection.execute(update(tables.alert_rule).where(later).values(kind="of-a-later-version"))
        read = read_rules(connection)
    assert [each.rule.name for each in read["home"]] == ["hot"]
    assert "the alert rule of-a-later-version of home cannot be read" in caplog.text
