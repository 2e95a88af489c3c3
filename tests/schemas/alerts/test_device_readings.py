"""The values of rules about devices: the worst one that matches decides, and is named."""

import pytest
from alert_rules import cpu_rule

from schemas.alerts.condition import describe_value, resolve
from schemas.alerts.description import describe_condition
from schemas.alerts.device_readings import SERIES_HOLD, MeasuredValue
from schemas.alerts.readings import EarlierSamples, SamplePoint, measure
from schemas.alerts.replay import Replay
from schemas.alerts.selection import select_rules
from schemas.contract.machine_selector import StoredTraits
from schemas.contract.messages import Vitals
from schemas.series.sample_block import Readings

USED: Readings = {"disk_used_percent": {"/": 95.0, "/data": 91.5, "/data/old": None, "/data2": 40.0}}


def point(at: int, readings: Readings) -> SamplePoint:
    return SamplePoint(at, Vitals(), {}, 0, readings)


@pytest.mark.parametrize(
    ("kind", "device", "expected"),
    [
        ("above", "*", MeasuredValue(95.0, "/")),
        ("above", "/data*", MeasuredValue(91.5, "/data")),
        ("below", "/data*", MeasuredValue(40.0, "/data2")),
        ("above", "/DATA*", MeasuredValue(None)),
        ("above", "/data/old", MeasuredValue(None)),
        ("above", "/d[!a]*", MeasuredValue(None)),
    ],
)
def test_the_worst_device_that_matches_decides(kind: str, device: str, expected: MeasuredValue) -> None:
    rule = cpu_rule(kind=kind, metric="disk_used_percent", device=device)
    assert measure(rule, point(0, USED), EarlierSamples(), 1) == expected


def test_a_sample_without_series_says_nothing() -> None:
    rule = cpu_rule(metric="disk_used_percent", device="*")
    assert measure(rule, point(0, {}), EarlierSamples(), 1) is None


def test_the_rate_of_a_device_is_that_since_the_last_sample_with_series() -> None:
    rule = cpu_rule(kind="rate-above", metric="disk_read_bytes", device="sd*", threshold=1.0)
    first = point(0, {"disk_read_bytes": {"sda": 1000, "sdb": 500, "sdc": 9}})
    earlier = EarlierSamples()
    for each in (first, point(10_000, {})):
        earlier.add(each)
    second = point(60_000, {"disk_read_bytes": {"sda": 1600, "sdb": 1700, "sdc": 0, "sdd": 10**9}})
    assert measure(rule, second, earlier, 45_000) == MeasuredValue(20.0, "sdb")
    assert measure(rule, second._replace(at=SERIES_HOLD + 1), earlier, 45_000) == MeasuredValue(None)
    assert measure(rule, second, EarlierSamples(), 45_000) == MeasuredValue(None)


def test_an_alert_names_the_device_that_was_the_worst_when_it_began() -> None:
    condition = resolve(cpu_rule(metric="disk_used_percent", device="*", for_seconds=60.0, clear_seconds=0.0))
    replay = Replay([condition], 45_000)
    for at, readings in ((0, {"/": 92.0}), (50_000, {"/": 92.0, "/data": 99.4}), (120_000, {"/": 1.0})):
        replay.add(point(at, {"disk_used_percent": readings}))
        replay.add(point(at + 10_000, {}))
    (span,) = replay.spans["hot"]
    assert (span.started_at, span.ended_at, span.device) == (0, 120_000, "/data")
    assert describe_value(condition.rule, span.value, span.device) == "/data: 99 %"


def test_rules_about_different_devices_do_not_replace_each_other() -> None:
    everywhere = cpu_rule("all", metric="disk_used_percent", device="*")
    boot = cpu_rule("boot", metric="disk_used_percent", device="/boot", selector={"machines": ["attic"]})
    same = cpu_rule("attic", metric="disk_used_percent", device="*", selector={"machines": ["attic"]})
    traits = StoredTraits("Linux", "1", {})
    assert select_rules([everywhere, boot], "attic", traits) == [everywhere, boot]
    assert select_rules([everywhere, boot, same], "attic", traits) == [boot, same]
    assert describe_condition(boot) == "disk_used_percent of /boot at least 90"


def test_only_a_rule_that_compares_readings_names_devices() -> None:
    with pytest.raises(ValueError, match="a rule of kind no-data has no device"):
        cpu_rule(kind="no-data", threshold=None, device="*")
