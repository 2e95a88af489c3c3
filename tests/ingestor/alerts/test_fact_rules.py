"""Rules about facts: a stopped container, a failed unit, a critical check, a package that changed."""

import pytest
from alert_rules import set_rules
from clocks import Clock
from facts import DOWN, UP, state
from ingestion import Bench, Speaker
from pydantic import ValidationError
from sqlalchemy import Engine

from schemas.alerts.description import describe_rule
from schemas.alerts.item_health import worst_item
from schemas.contract.alert_rules import AlertRule
from schemas.database.queries.alerts import list_alerts
from schemas.database.rules.preview import preview_rule

FAIR = {"health": "fair", "fields": {"state": "degraded"}}
UNKNOWN = {"health": "unknown", "fields": {"state": "timed out"}}


def rule(**values: object) -> AlertRule:
    base = {"name": "bad", "title": "Bad", "kind": "unhealthy", "metric": "containers", "clear_seconds": 0.0}
    return AlertRule.model_validate({**base, **values})


def begin(bench: Bench, speaker: Speaker, *rules: AlertRule) -> None:
    """Have the machine online under these rules, without the default ones."""
    set_rules(bench.ingestor._store.engine, *rules)
    bench.publish(speaker.status(), speaker.telemetry(1))
    bench.step(2.0, steps=2)


def alerts(fleet: Engine, *, over: bool = False) -> list[tuple[str, str, str]]:
    return [(each["machine"], each["rule"], each["detail"]) for each in list_alerts(fleet, over=over)]


def test_a_critical_item_raises_an_alert_that_names_it_and_ends_when_it_is_well_or_gone(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    begin(bench, speaker, rule(), rule(name="shop", device="shop-*"))
    state(bench, speaker.facts("containers", {"db": UP, "shop-web": UP}))
    assert alerts(fleet) == []
    state(bench, speaker.facts("containers", {"db": DOWN, "shop-web": FAIR}))
    assert alerts(fleet) == [("attic", "bad", "db: critical")]
    state(bench, speaker.facts("containers", {"shop-web": DOWN}))
    assert sorted(alerts(fleet)) == [("attic", "bad", "db: critical"), ("attic", "shop", "shop-web: critical")]
    state(bench, speaker.facts("containers", {"shop-web": UP}))
    assert alerts(fleet) == []


def test_the_duration_counts_across_a_restart_of_the_ingestor_and_for_rules_that_come_later(
    bench: Bench, speaker: Speaker, fleet: Engine
) -> None:
    begin(bench, speaker)
    state(bench, speaker.facts("containers", db=DOWN))
    set_rules(fleet, rule(for_seconds=60.0))
    bench.step(5.0, steps=4)
    assert alerts(fleet) == []
    bench.ingestor._discard(0.0)  # as after a lost database
    bench.step(1.0, steps=3)
    for _ in range(14):
        bench.publish(speaker.telemetry(2))
        bench.step(5.0)
    assert alerts(fleet) == [("attic", "bad", "db: critical")]


def test_unknown_neither_begins_nor_ends_an_alert(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    begin(bench, speaker, rule())
    state(bench, speaker.facts("containers", db=UNKNOWN))
    assert alerts(fleet) == []
    state(bench, speaker.facts("containers", db=DOWN))
    state(bench, speaker.facts("containers", db=UNKNOWN))
    assert len(alerts(fleet)) == 1
    state(bench, speaker.no_facts("containers"))
    assert len(alerts(fleet)) == 1
    state(bench, speaker.facts("containers"))
    assert alerts(fleet) == []


def test_a_change_of_a_matching_item_is_an_alert_for_a_while(bench: Bench, speaker: Speaker, fleet: Engine) -> None:
    changed = rule(kind="changed", metric="packages", device="linux-*", clear_seconds=30.0)
    begin(bench, speaker, changed)
    old, new = ({"fields": {"version": version}} for version in ("6.1", "6.12"))
    state(bench, speaker.facts("packages", {"linux-image": old, "openssl": old}))
    state(bench, speaker.facts("packages", {"linux-image": old, "openssl": new}))
    bench.step(2.0, steps=2)
    assert alerts(fleet) == []
    state(bench, speaker.facts("packages", {"linux-image": new, "openssl": new}))
    bench.step(2.0, steps=2)
    assert alerts(fleet) == [("attic", "bad", "linux-image: changed")]
    bench.step(31.0, steps=2)
    assert alerts(fleet) == []
    assert len(alerts(fleet, over=True)) == 1


def test_the_preview_names_the_machines_on_which_an_item_is_not_well_now(
    bench: Bench, speaker: Speaker, fleet: Engine, clock: Clock
) -> None:
    begin(bench, speaker)
    state(bench, speaker.facts("containers", {"db": FAIR, "shop-web": UP}))
    found = preview_rule(fleet, "home", rule(threshold=1), now=clock.now())
    assert found.now == (("attic", "db: warning"),)
    assert preview_rule(fleet, "home", rule(), now=clock.now()).now == ()
    assert preview_rule(fleet, "home", rule(threshold=1, device="shop-*"), now=clock.now()).now == ()
    assert preview_rule(fleet, "office", rule(threshold=1), now=clock.now()).now == ()


def test_the_worst_of_the_items_that_are_meant_decides_and_unknown_ones_hide_only_what_is_well() -> None:
    healths = {"b": "critical", "a": "critical", "c": "fair", "d": None, "e": "unknown"}
    assert worst_item(rule(), healths) == (2.0, "a")
    assert worst_item(rule(device="[c-e]"), healths).value is None
    assert worst_item(rule(device="[c-e]", threshold=1), healths) == (1.0, "c")
    assert worst_item(rule(device="[cd]"), healths) == (1.0, "c")
    assert worst_item(rule(device="d"), healths).value == 0.0
    assert worst_item(rule(), {}).value == 0.0


@pytest.mark.parametrize(
    "values",
    [
        {"metric": ""},
        {"threshold": 3},
        {"kind": "changed", "metric": "services"},
        {"kind": "changed", "metric": "boot", "device": "*"},
        {"kind": "changed", "metric": "", "device": "*"},
        {"kind": "away", "metric": "", "device": "*"},
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_not_valid(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        rule(**values)


def test_rules_about_facts_read_as_a_sentence() -> None:
    said = describe_rule(rule(device="shop-*", threshold=1, for_seconds=60.0))
    assert said == "containers of shop-* critical or in warning, for 1 min, clear at once, warning, all machines"
