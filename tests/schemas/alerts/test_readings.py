"""The values that rules compare: rates with resets, boots, missing readings; and the rules that apply to a machine."""

import pytest

from schemas.alerts.condition import describe_value, resolve
from schemas.alerts.readings import EarlierSamples, SamplePoint, read_value
from schemas.alerts.selection import explain_rules, select_rules
from schemas.contract.alert_rules import AlertRule
from schemas.contract.machine_selector import StoredTraits
from schemas.contract.messages import Vitals

HOLD = 45_000


def point(at: int, *, offset: int = 0, extra: dict[str, float | None] | None = None, **vitals: float) -> SamplePoint:
    return SamplePoint(at, Vitals.model_validate(vitals), extra or {}, offset)


def rule(kind: str, metric: str = "", threshold: float | None = None, **more: object) -> AlertRule:
    values = {"name": "r", "title": "R", "kind": kind, "metric": metric, "threshold": threshold}
    return AlertRule.model_validate({**values, **more})


RATE = rule("rate-above", "network_sent_bytes", 1e6)


def earlier(rule: AlertRule, before: SamplePoint | None) -> EarlierSamples:
    found = EarlierSamples.of([rule])
    if before is not None:
        found.add(before)
    return found


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (point(0, network_sent_bytes=1000), point(10_000, network_sent_bytes=21_000), 2000.0),
        (point(0, network_sent_bytes=1000), point(10_000, network_sent_bytes=500), None),
        (point(0, network_sent_bytes=1000), point(46_000, network_sent_bytes=2000), None),
        (point(0), point(10_000, network_sent_bytes=2000), None),
        (None, point(10_000, network_sent_bytes=2000), None),
    ],
)
def test_a_rate_is_not_known_after_a_reset_a_gap_or_nothing(
    before: SamplePoint | None, after: SamplePoint, expected: float | None
) -> None:
    assert read_value(RATE, after, earlier(RATE, before), HOLD) == expected


def test_a_boot_is_seen_although_the_machine_was_away_for_long() -> None:
    boot = rule("changed", "boot")
    before = earlier(boot, point(0, uptime_seconds=100))
    assert read_value(boot, point(10_000, uptime_seconds=110), before, HOLD) == 0
    assert read_value(boot, point(3_600_000, uptime_seconds=3700), before, HOLD) == 0
    assert read_value(boot, point(3_600_000, uptime_seconds=3000), before, HOLD) == 1
    assert read_value(boot, point(3_600_000), before, HOLD) is None


def test_missing_metrics_are_named() -> None:
    default = rule("no-data")
    value = read_value(default, point(0, cpu_percent=1.0), EarlierSamples(), HOLD)
    assert describe_value(default, value) == "Memory, Disk"
    assert (
        read_value(default, point(0, cpu_percent=1.0, memory_percent=1.0, disk_percent=1.0), EarlierSamples(), HOLD)
        == 0
    )
    fan = rule("no-data", "fan_rpm")
    assert read_value(fan, point(0, extra={"fan_rpm": 900.0}), EarlierSamples(), HOLD) == 0
    assert describe_value(fan, read_value(fan, point(0), EarlierSamples(), HOLD)) == "fan_rpm"


def test_an_extra_metric_that_is_missing_is_neither_high_nor_low() -> None:
    condition = resolve(rule("above", "fan_rpm", 3000.0))
    value = read_value(condition.rule, point(0), EarlierSamples(), HOLD)
    assert condition.verdict(value, active=False) is None


def test_a_clock_is_wrong_in_either_direction() -> None:
    condition = resolve(rule("clock", threshold=60.0))
    values = [
        read_value(condition.rule, point(0, offset=by), EarlierSamples(), HOLD) for by in (59_000, 60_000, -90_000)
    ]
    assert [condition.verdict(value, active=False) for value in values] == [False, True, True]
    assert describe_value(condition.rule, values[2]) == "90 s"


@pytest.mark.parametrize(
    ("made", "value", "text"),
    [
        (rule("above", "cpu_percent", 90.0), 97.4, "97 %"),
        (rule("above", "temperature_celsius", 90.0), 91.0, "91 °C"),
        (rule("above", "process_count", 1.0), 12345.0, "12\N{THIN SPACE}345"),
        (rule("above", "load_1m", 1.0), 2.5, "2.5"),
        (RATE, 2_000_000.0, "2\N{THIN SPACE}000\N{THIN SPACE}000/s"),
        (rule("disk-full", threshold=7.0), 3.26, "full in 3.3 d"),
    ],
)
def test_a_value_is_described_for_people(made: AlertRule, value: float, text: str) -> None:
    assert describe_value(made, value) == text


def test_of_a_family_the_most_specific_rules_apply_and_the_others_say_why_not() -> None:
    general = rule("above", "cpu_percent", 90.0, name="general")
    second = rule("above", "cpu_percent", 80.0, name="second", for_seconds=3600.0)
    of_db = rule("above", "cpu_percent", 99.0, name="of-db", selector={"labels": {"role": "db"}})
    critical = rule("above", "cpu_percent", 99.0, name="critical", severity="critical")
    off = rule("above", "cpu_percent", 50.0, name="off", enabled=False, selector={"machines": ("db1",)})
    rules = [general, second, of_db, critical, off]
    db = StoredTraits(labels={"role": "db"})
    assert [each.name for each in select_rules(rules, "db1", db)] == ["of-db", "critical"]
    assert [each.name for each in select_rules(rules, "web1", StoredTraits())] == ["general", "second", "critical"]
    assert {each.rule.name: each.replaced_by for each in explain_rules(rules, "db1", db)} == {
        "general": ("of-db",),
        "second": ("of-db",),
        "of-db": (),
        "critical": (),
    }


def test_a_machine_that_is_offline_has_no_value_to_show() -> None:
    assert describe_value(AlertRule(name="away", title="Away", kind="away"), 1.0) == ""
