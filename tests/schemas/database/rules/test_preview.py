"""The preview of a rule, and the rules that apply to a machine."""

from typing import Any

import pytest
from alert_rules import set_rules
from seeding import NOW, Fleet
from sqlalchemy import Engine, insert

from schemas.contract.alert_rules import DEFAULT_RULES, AlertRule
from schemas.database import tables
from schemas.database.rules import past_signals
from schemas.database.rules.preview import Preview, preview_rule
from schemas.database.rules.rule_queries import list_applying, list_rules
from schemas.fleet.history import DAY, HOUR, MINUTE

WHOLE = NOW // MINUTE * MINUTE


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def seeded(database: Engine) -> Fleet:
    return Fleet(database)


def rule(**values: Any) -> AlertRule:  # noqa: ANN401 - fields of any type
    base = {"name": "hot", "title": "Hot", "kind": "above", "metric": "cpu_percent", "threshold": 90.0}
    return AlertRule.model_validate({**base, "for_seconds": 120.0, **values})


def preview(seeded: Fleet, **values: Any) -> Preview:  # noqa: ANN401 - fields of any type
    return preview_rule(seeded.engine, "home", rule(**values), now=NOW)


def spans(found: Preview) -> list[tuple[str, int, int | None]]:
    return [
        (each.machine, (each.started_at - WHOLE) // MINUTE, each.ended_at and (each.ended_at - WHOLE) // MINUTE)
        for each in found.alerts
    ]


def test_machines_that_fulfil_the_condition_now_are_named_with_their_value(seeded: Fleet) -> None:
    seeded.machine("calm")
    seeded.machine("busy", cpu_percent=97.0, labels={"role": "db"})
    seeded.machine("gone", cpu_percent=97.0, presence="offline")
    seeded.machine("other", org="other", cpu_percent=97.0)
    found = preview(seeded)
    assert (found.selected, found.now, found.complete) == (3, (("busy", "97 %"),), True)
    assert preview(seeded, selector={"labels": {"role": "web"}}).selected == 0
    assert preview(seeded, metric="fan_rpm", threshold=1000.0).now == (
        ("busy", "1\N{THIN SPACE}180"),
        ("calm", "1\N{THIN SPACE}180"),
    )


def test_machines_on_which_a_more_specific_rule_applies_are_counted_and_not_evaluated(seeded: Fleet) -> None:
    for name in ("vm", "vm-2"):
        seeded.minutes(seeded.machine(name, cpu_percent=97.0), [99.0] * 4)
    only_vm_2 = {"machines": ["vm-2"]}
    other_family = rule(name="hotter", severity="critical", selector={"machines": ["vm"]})
    disabled = rule(name="off", enabled=False, selector={"machines": ["vm"]})
    set_rules(seeded.engine, rule(name="hot-vm-2", selector=only_vm_2), other_family, disabled)
    for found in (preview(seeded), preview(seeded, enabled=False)):
        assert (found.selected, found.applying, found.replaced, found.replaced_by) == (2, 1, 1, ("hot-vm-2",))
        assert [name for name, _ in found.now] == ["vm"]
        assert {alert.machine for alert in found.alerts} == {"vm"}
    changed = preview(seeded, name="hot-vm-2")
    assert (changed.applying, changed.replaced_by) == (2, ())


def test_past_alerts_are_those_of_the_minutes(seeded: Fleet) -> None:
    key = seeded.machine("busy")
    seeded.minutes(key, [10.0] * 5 + [99.0] * 4 + [10.0] * 5 + [95.0] + [10.0] * 4 + [99.0] * 4)
    assert spans(preview(seeded)) == [("busy", -4, None), ("busy", -18, -14)]
    assert spans(preview(seeded, for_seconds=600.0)) == []
    assert spans(preview(seeded, kind="below", threshold=10.0, for_seconds=180.0, clear_seconds=0.0)) == [
        ("busy", -8, -4),
        ("busy", -14, -9),
        ("busy", -23, -18),
    ]


def test_hours_that_cannot_fulfil_the_condition_are_not_read_in_minutes(seeded: Fleet) -> None:
    key = seeded.machine("busy")
    counts = {column.name: 0 for column in tables.hour.c if column.name.endswith("_count")}
    summary = {f"cpu_percent_{part}": 50.0 for part in ("min", "avg", "max")}
    with seeded.engine.begin() as connection:
        for age, most in ((30, 50.0), (20, 99.0)):
            at = NOW // HOUR * HOUR - age * HOUR
            values = {**counts, **summary, "machine_id": key, "at": at, "samples": 6, "cpu_percent_count": 6}
            connection.execute(insert(tables.hour).values({**values, "cpu_percent_max": most}))
            for number in range(5):
                made = {**counts, **values, "at": at + number * MINUTE, "sampled_from": 0, "sampled_to": 0}
                loud = {f"cpu_percent_{part}": 99.0 for part in ("min", "avg", "max")}
                connection.execute(insert(tables.minute).values({**made, **loud}))
    start = NOW // HOUR * HOUR - 20 * HOUR
    assert [each.started_at for each in preview(seeded).alerts] == [start]


def test_missing_metrics_and_absences_have_a_history(seeded: Fleet) -> None:
    key = seeded.machine("busy")
    seeded.minutes(key, [10.0] * 6)
    found = preview(seeded, kind="no-data", metric="", threshold=None)
    assert [(each.detail, each.ended_at) for each in found.alerts] == [("Memory, Disk", None)]
    assert found.now == ()
    for at, before, after, reason in (
        (NOW - 3 * HOUR, "online", "offline", "lost"),
        (NOW - 2 * HOUR, "offline", "online", ""),
        (NOW - HOUR, "online", "offline", "stopped"),
    ):
        seeded.transition(key, at, before, after, reason)
    away = preview(seeded, kind="away", metric="", threshold=None)
    assert [(each.started_at, each.ended_at) for each in away.alerts] == [(NOW - 3 * HOUR, NOW - 2 * HOUR)]


def test_rejected_messages_have_a_history(seeded: Fleet) -> None:
    seeded.machine("noisy")
    for number in range(3):
        seeded.dead_letter("noisy", received_at=NOW - DAY + number * MINUTE)
    found = preview(seeded, kind="rejected", metric="", threshold=3.0, for_seconds=0.0)
    assert [(each.started_at, each.ended_at) for each in found.alerts] == [(NOW - DAY + 2 * MINUTE, NOW - DAY + HOUR)]


def test_the_forecast_of_a_disk_is_previewed_now_and_has_no_history(seeded: Fleet) -> None:
    key = seeded.machine("full")
    values = {"outlook": "full", "full_at": NOW + 3 * DAY, "made_at": NOW}
    with seeded.engine.begin() as connection:
        connection.execute(insert(tables.disk_forecast).values(machine_id=key, **values))
    found = preview(seeded, kind="disk-full", metric="", threshold=7.0)
    assert [name for name, _ in found.now] == ["full"]
    assert (found.has_history, found.alerts) == (False, ())


def test_the_forecast_of_a_file_system_is_previewed_with_its_name(seeded: Fleet) -> None:
    key = seeded.machine("full")
    with seeded.engine.begin() as connection:
        for mount, days in (("/", 2), ("/data/a", 5), ("/data/b", 3), ("/data/c", 300)):
            values = {"machine_id": key, "mount": mount, "outlook": "full", "full_at": NOW + days * DAY}
            connection.execute(insert(tables.mount_forecast).values(values))
    found = preview(seeded, kind="disk-full", metric="", device="/data*", threshold=7.0)
    assert found.now == (("full", "/data/b: full in 3.0 d"),)
    assert preview(seeded, kind="disk-full", metric="", device="/srv*", threshold=7.0).now == ()


def test_a_preview_that_reads_too_much_says_that_it_is_not_complete(
    seeded: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_signals, "MINUTES_MAX", 10)
    seeded.minutes(seeded.machine("busy"), [99.0] * 30)
    assert not preview(seeded).complete


def test_rates_come_from_the_counts_of_minutes(seeded: Fleet) -> None:
    key = seeded.machine("busy")
    counts = {column.name: 0 for column in tables.minute.c if column.name.endswith("_count")}
    total = 0
    with seeded.engine.begin() as connection:
        for number in range(20):
            total += 60_000_000 if 5 <= number < 10 else 60
            part = {f"network_sent_bytes_{name}": total for name in ("min", "avg", "max")}
            row = {"machine_id": key, "at": WHOLE - (20 - number) * MINUTE, "samples": 6, "sampled_from": 0}
            values = {**counts, **part, **row, "sampled_to": 0, "network_sent_bytes_count": 6}
            connection.execute(insert(tables.minute).values(values))
    found = preview(seeded, kind="rate-above", metric="network_sent_bytes", threshold=500_000.0)
    assert spans(found) == [("busy", -15, -10)]


def test_the_rules_of_a_machine_are_explained(seeded: Fleet) -> None:
    seeded.alert(seeded.machine("db1", labels={"role": "db"}), "cpu", NOW)
    special = rule(name="hot-db", threshold=99.0, selector={"labels": {"role": "db"}})
    set_rules(seeded.engine, *DEFAULT_RULES, special)
    applying = list_applying(seeded.engine, "home", "db1")
    assert applying[-1].condition.rule.name == "cpu"
    assert applying[-1].replaced_by == ("hot-db",)
    assert {each.condition.rule.name: each.condition.on for each in applying}["disk"] == 97
    assert [(each.rule.name, each.open_alerts) for each in list_rules(seeded.engine, "home") if each.open_alerts] == [
        ("cpu", 1)
    ]
    assert list_applying(seeded.engine, "other", "db1") == []
