"""Alert rules as data: which are complete, which selector is more specific, and the thresholds of the health score."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.contract.alert_rules import DEFAULT_RULES, AlertRule, health_threshold
from schemas.contract.machine_selector import MachineSelector, StoredTraits
from schemas.contract.org_config import Thresholds

HOT = {"name": "hot", "title": "Too hot", "kind": "above", "metric": "temperature_celsius", "threshold": 90.0}
DB = StoredTraits(os="Debian", agent_version="0.2.0", labels={"role": "db", "site": "nantes"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"metric": ""},
        {"threshold": None},
        {"metric": "/data"},
        {"name": "Hot"},
        {"title": ""},
        {"for_seconds": -1.0},
        {"for_seconds": 86_401.0},
        {"clear_threshold": 91.0},
        {"kind": "below", "clear_threshold": 89.0},
        {"severity": "fatal"},
        {"kind": "changed", "metric": "kernel"},
        {"kind": "changed", "metric": "boot", "threshold": 1.0},
        {"kind": "no-data", "threshold": 1.0},
        {"kind": "away"},
        {"kind": "clock", "metric": "", "threshold": 1.0},
        {"kind": "disk-full", "metric": "", "threshold": 0.0},
        {"kind": "disk-full", "metric": "", "threshold": 366.0},
        {"kind": "rejected", "metric": "", "threshold": 0.0},
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_not_valid(wrong: dict[str, Any]) -> None:
    AlertRule.model_validate(HOT)
    with pytest.raises(ValidationError):
        AlertRule.model_validate({**HOT, **wrong})


@pytest.mark.parametrize(("metric", "percent"), [("cpu_percent", 95), ("memory_percent", 96), ("disk_percent", 97)])
def test_a_rule_without_a_threshold_takes_it_from_the_health_parameters(metric: str, percent: float) -> None:
    assert health_threshold(metric, Thresholds()) == percent
    AlertRule.model_validate({**HOT, "metric": metric, "threshold": None})


def test_the_default_rules_are_those_that_were_fixed_before() -> None:
    assert [rule.name for rule in DEFAULT_RULES] == ["away", "clock", "cpu", "disk", "memory", "unmeasured"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"labels": {"role": "db"}}, True),
        ({"labels": {"role": "db", "site": "lyon"}}, False),
        ({"labels": {"rack": "1"}}, False),
        ({"systems": ("Debian", "Ubuntu")}, True),
        ({"systems": ("Ubuntu",)}, False),
        ({"versions": ("0.1.0",)}, False),
        ({"machines": ("db1", "db2")}, True),
        ({"machines": ("db2",)}, False),
    ],
)
def test_a_selector_selects_machines_that_meet_all_its_conditions(selector: dict[str, Any], expected: bool) -> None:
    assert MachineSelector.model_validate(selector).selects("db1", DB) is expected


def test_a_named_machine_is_more_specific_than_labels_and_more_labels_than_fewer() -> None:
    found = [
        MachineSelector(),
        MachineSelector(systems=("Debian",)),
        MachineSelector(versions=("0.2.0",)),
        MachineSelector(labels={"role": "db"}),
        MachineSelector(labels={"role": "db", "site": "nantes"}),
        MachineSelector(machines=("db1",)),
    ]
    assert sorted(found, key=lambda selector: selector.specificity) == found
