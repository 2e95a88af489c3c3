"""The form of a rule, and rules in words."""

from typing import Any

import pytest
from pydantic import ValidationError

from dashboard.rules import applying, entered_rule, texts
from schemas.alerts.condition import resolve
from schemas.contract.alert_rules import CHANGES, DEFAULT_RULES, AlertRule
from schemas.contract.messages import VITALS
from schemas.database.rules.rule_queries import ApplyingRule

ENTERED = {"name": "hot", "title": " Hot ", "kind": "above", "metric": "cpu_percent", "threshold": 90.0, "for": 60.0}


def entered(before: AlertRule | None = None, **values: Any) -> AlertRule:  # noqa: ANN401 - values of widgets
    return entered_rule.read_form({**ENTERED, **values}.get, before)


def test_a_rule_is_read_from_the_form() -> None:
    rule = entered(labels=["role=db", "site=a=b"], machines=["attic"], clear_for=30.0, severity="critical")
    assert (rule.name, rule.title, rule.for_seconds, rule.clear_seconds) == ("hot", "Hot", 60, 30)
    assert (rule.selector.labels, rule.selector.machines) == ({"role": "db", "site": "a=b"}, ("attic",))
    assert rule.enabled


@pytest.mark.parametrize(
    ("title", "taken", "name"),
    [
        ("Hot databases!", (), "hot-databases"),
        ("Disk", ("disk", "disk-2"), "disk-3"),
        ("Нагрузка", (), "rule"),
        ("x" * 64, ("x" * 56,), "x" * 56 + "-2"),
    ],
)
def test_a_new_rule_without_a_name_gets_a_free_one_from_its_title(
    title: str, taken: tuple[str, ...], name: str
) -> None:
    assert entered_rule.read_form({**ENTERED, "name": " ", "title": title}.get, None, taken).name == name


def test_a_rule_about_facts_is_read_from_the_form_and_shown_in_words() -> None:
    stopped = entered(kind="unhealthy", metric="containers", device=" shop-* ", threshold=7.0, warnings=True)
    assert (stopped.metric, stopped.device, stopped.threshold) == ("containers", "shop-*", 1)
    assert texts.condition(stopped) == "Warning or critical: Containers (shop-*)"
    failed = entered(kind="unhealthy", metric="services", device="", threshold=7.0)
    assert (failed.device, failed.threshold, texts.condition(failed)) == ("", None, "Critical: Services")
    changed = entered(kind="changed", metric="packages", device="")
    assert (changed.device, texts.condition(changed)) == ("*", "Changed: Packages to update")
    assert entered(kind="changed", metric="boot", device="shop-*").device == ""


def test_what_another_kind_left_in_the_form_is_not_taken() -> None:
    assert entered(kind="away").metric == ""
    assert entered(kind="away").threshold is None
    assert entered(kind="changed", metric="boot").for_seconds == 0
    assert entered(kind="clock", threshold=30.0, clear=99.0).clear_threshold is None
    own: dict[str, Any] = {"threshold.rejected": 10.0, "metric.unhealthy": "checks"}
    messages, checks = (
        entered_rule.read_form({**ENTERED, **own, "kind": kind}.get, None) for kind in ("rejected", "unhealthy")
    )
    assert (messages.threshold, messages.metric, checks.metric) == (10, "", "checks")


SHOWN = {"for_seconds": "for", "clear_seconds": "clear_for", "clear_threshold": "clear"}
"""Keys of the form's widgets that differ from the fields of a rule."""

EVERY_KIND = (
    {"kind": "above", "metric": "disk_used_percent", "device": "/data*", "threshold": 90, "clear_threshold": 80},
    {"kind": "above", "metric": "cpu_percent"},
    {"kind": "below", "metric": "battery_percent", "threshold": 20, "clear_threshold": 30},
    {"kind": "rate-above", "metric": "network_sent_bytes", "threshold": 1e6, "clear_threshold": 1e5},
    {"kind": "rate-below", "metric": "network_sent_bytes", "threshold": 0},
    {"kind": "no-data", "metric": "temperature_celsius"},
    {"kind": "no-data"},
    {"kind": "changed", "metric": "boot", "for_seconds": 0},
    {"kind": "changed", "metric": "packages", "device": "linux-*", "for_seconds": 0},
    {"kind": "disk-full", "threshold": 7, "clear_threshold": 10},
    {"kind": "disk-full", "device": "/data*", "threshold": 7},
    {"kind": "away"},
    {"kind": "clock", "threshold": 60, "clear_threshold": 30},
    {"kind": "rejected", "threshold": 10, "clear_threshold": 2},
    {"kind": "unhealthy", "metric": "containers", "device": "shop-*", "threshold": 1},
)


@pytest.mark.parametrize("fields", EVERY_KIND, ids=lambda fields: str(fields["kind"]))
def test_a_rule_of_any_kind_that_is_only_looked_at_stays_the_same(fields: dict[str, Any]) -> None:
    selector = {"labels": {"site": "a=b"}, "systems": ["Debian 12"], "versions": ["1.0"], "machines": ["attic"]}
    base = {"name": "it", "title": "It", "for_seconds": 90, "clear_seconds": 45, "severity": "critical"}
    rule = AlertRule.model_validate({**base, "selector": selector, "enabled": False, **fields})
    drawn = {SHOWN.get(name, name): value for name, value in dict(rule).items()}
    drawn |= {"labels": ["site=a=b"], "systems": ["Debian 12"], "versions": ["1.0"], "machines": ["attic"]}
    drawn["warnings"] = rule.kind == "unhealthy" and rule.threshold == 1
    assert entered_rule.read_form(drawn.get, rule) == rule
    assert AlertRule.model_validate(rule.model_dump(mode="json")) == rule


def test_a_rule_about_devices_is_read_and_described() -> None:
    rule = entered(metric="disk_used_percent", device=" /data* ")
    assert (rule.device, texts.condition(rule)) == ("/data*", "disk_used_percent (/data*) ≥ 90")
    soon = entered(kind="disk-full", device=" /data* ", threshold=7.0)
    assert (soon.device, texts.condition(soon)) == ("/data*", "File system /data* full within 7 d")
    assert texts.condition(entered(metric="disk_used_percent", device="*")) == "disk_used_percent of any device ≥ 90"
    assert entered(kind="clock", device="/data").device == ""


def test_a_rule_keeps_its_name_and_may_be_disabled() -> None:
    (disk,) = (rule for rule in DEFAULT_RULES if rule.name == "disk")
    changed = entered(disk, name="other", enabled=False)
    assert (changed.name, changed.enabled) == ("disk", False)


@pytest.mark.parametrize(
    "wrong", [{"name": "A b"}, {"title": ""}, {"metric": ""}, {"threshold": None, "metric": "load_1m"}, {"clear": 95.0}]
)
def test_a_wrong_rule_is_no_rule(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rule|name|title|metric|threshold"):
        entered(**wrong)


def test_every_kind_metric_and_fact_has_words() -> None:
    assert set(texts.METRICS) == set(VITALS)
    assert set(texts.CHANGES) == set(CHANGES)
    for kind in texts.KINDS:
        values: dict[str, Any] = {"name": "x", "title": "x", "kind": kind, "metric": "fan_rpm", "threshold": 1.0}
        assert texts.condition(AlertRule.model_construct(**values))


def test_a_machine_says_which_rules_apply_and_why() -> None:
    cpu = resolve(AlertRule(name="cpu", title="High CPU usage", kind="above", metric="cpu_percent", for_seconds=300))
    assert applying.explain(ApplyingRule(cpu, ())) == (
        "High CPU usage",
        "CPU usage (%) ≥ 95 (health settings) for 5 min · for all machines",
    )
    assert applying.explain(ApplyingRule(cpu, ("hot-db",)))[1] == "does not apply: hot-db is more specific"


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"title": " "}, {"title": "Enter a title."}),
        ({"name": "Hot!"}, {"name": "A name is 1 to 63 lower-case letters, digits and inner hyphens."}),
        ({"metric": ""}, {"metric": "Choose a metric."}),
        ({"metric": "CPU"}, {"metric": "A metric is named in lower-case letters, digits and underscores."}),
        ({"metric": "load_1m", "threshold": None}, {"threshold": "Enter a value."}),
        ({"clear": 95.0}, {"clear": "The value at which it ends must be at most 90."}),
        ({"kind": "below", "clear": 85.5}, {"clear": "The value at which it ends must be at least 90."}),
        ({"kind": "clock", "threshold.clock": 1.0}, {"threshold.clock": "Enter at least 5 seconds: smaller"}),
        (
            {"kind": "disk-full", "threshold.disk-full": 0.0},
            {"threshold.disk-full": "Enter more than 0 and at most 365"},
        ),
        ({"kind": "rejected", "threshold.rejected": 0.5}, {"threshold.rejected": "Enter at least 1 message."}),
        ({"kind": "unhealthy", "metric": "", "metric.unhealthy": ""}, {"metric.unhealthy": "Choose a metric."}),
        ({"for": 90_000.0}, {"for": "Begins after (s) must be at most 1 d"}),
        ({"machines": ["A B"]}, {"machines": "Machines must be lower-case letters, digits and inner hyphens"}),
        ({"title": "", "name": "x y", "for": -1.0}, {"title": "Enter", "name": "A name", "for": "Begins after"}),
    ],
)
def test_what_is_wrong_is_said_of_the_input_that_it_concerns(values: dict[str, Any], faults: dict[str, str]) -> None:
    given = {**ENTERED, **values}.get
    with pytest.raises(ValidationError) as caught:
        entered_rule.read_form(given, None)
    found = entered_rule.find_faults(caught.value, given)
    assert found.keys() == faults.keys()
    assert all(found[name].startswith(sentence) for name, sentence in faults.items()), found


def test_a_change_lasts_as_long_as_its_own_input_says() -> None:
    given: dict[str, Any] = {"kind": "changed", "metric": "boot", "clear_for": 60.0, "clear_for.changed": 3600.0}
    assert entered(None, **given).clear_seconds == 3600
