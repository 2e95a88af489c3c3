"""The page of alert rules in the browser: adding one with its preview, changing and removing one, and reading."""

import re
from collections.abc import Callable

import pytest
from alert_rules import set_rules
from answering import Answerer
from playwright.sync_api import Page, expect
from screens import grave, photograph, settled
from seeding import Fleet
from waiting import wait_until

from schemas.contract.administration import DeleteRule, SetRule
from schemas.contract.alert_rules import DEFAULT_RULES, AlertRule

Visit = Callable[..., Page]
PHONE = (390, 844)
SPECIAL = AlertRule(
    name="hot-db",
    title="<b>Database busy</b>",
    kind="above",
    metric="cpu_percent",
    threshold=98,
    for_seconds=600,
    selector={"labels": {"role": "database"}},  # type: ignore[arg-type]
)


@pytest.fixture(autouse=True)
def rules(fleet: Fleet) -> None:
    set_rules(fleet.engine, *DEFAULT_RULES, SPECIAL)


def last_change(answerer: Answerer, kind: type) -> object:
    """Return the change of the last request of this kind, waiting for it."""

    def heard() -> list[object]:
        return [request.change for request in answerer.heard if isinstance(request.change, kind)]

    wait_until(lambda: bool(heard()), what=f"a request to {kind.__name__}")
    return heard()[-1]


def test_an_admin_adds_a_rule_after_seeing_what_it_would_have_done(visit: Visit, answerer: Answerer) -> None:
    page = visit("/rules")
    expect(page.locator(".df-fleet tbody tr")).to_have_count(7)
    page.get_by_role("button", name="New rule …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Title").fill("Quite busy")
    dialog.get_by_role("textbox", name="Name").fill("Wrong Name")
    dialog.get_by_label("Value", exact=True).fill("60")
    for kind, field, value in (
        ("Machine booted, or a version, service or device changed", "What", "Boot"),
        ("Messages are rejected", "Messages within an hour", "10.00"),
        ("Metric is at or above a value", "Value", "60.00"),  # as it was entered, not what another kind had
    ):
        dialog.get_by_label("Condition").fill(kind)
        page.get_by_role("option", name=kind, exact=True).click()
        expect(dialog.get_by_label(field, exact=True)).to_have_value(value)
    settled(page)
    assert grave(page) == []
    photograph(page, "rule-form-light")
    dialog.get_by_role("button", name="Preview").click()
    name = dialog.get_by_role("textbox", name="Name")
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_accessible_description(re.compile("A name is 1 to 63 lower-case letters"))
    below = dialog.locator(".df-fault").bounding_box()
    above = name.bounding_box()
    assert above is not None
    assert below is not None
    assert abs(below["x"] - above["x"]) < 20
    assert 0 < below["y"] - above["y"] - above["height"] < 20
    settled(page)
    assert grave(page) == []
    photograph(page, "rule-fault-light")
    name.fill("quite-busy")
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog).to_contain_text("fulfil the condition now")
    expect(dialog).to_contain_text("It would have raised")
    settled(page)
    assert grave(page) == []
    photograph(page, "rule-preview-light")
    dialog.get_by_role("button", name="Save rule").click()
    expect(dialog).to_contain_text("Done")
    change = last_change(answerer, SetRule)
    assert isinstance(change, SetRule)
    made = change.rule
    assert (made.name, made.kind, made.metric, made.threshold) == ("quite-busy", "above", "cpu_percent", 60)
    assert (made.for_seconds, made.clear_seconds, made.severity) == (300, 60, "warning")


def test_an_admin_changes_and_removes_a_rule(visit: Visit, answerer: Answerer) -> None:
    page = visit("/rules", scheme="dark")
    page.locator(".df-fleet tbody tr", has_text="hot-db").locator("td").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Value", exact=True)).to_have_value("98.00")
    settled(page)
    photograph(page, "rule-edit-dark")
    dialog.get_by_text("Enabled").click()
    dialog.get_by_role("button", name="Preview").click()
    expect(dialog).to_contain_text("Active alerts of this rule end")
    dialog.get_by_role("button", name="Save rule").click()
    expect(dialog).to_contain_text("Done")
    assert last_change(answerer, SetRule) == SetRule(rule=SPECIAL.model_copy(update={"enabled": False}))
    dialog.get_by_role("button", name="Close").click()
    page.locator(".df-fleet tbody tr", has_text="hot-db").locator("td").first.click()
    dialog.get_by_role("button", name="Delete rule …").click()
    dialog.get_by_role("button", name="Delete rule", exact=True).click()
    expect(dialog).to_contain_text("Done")
    assert last_change(answerer, DeleteRule) == DeleteRule(name="hot-db")


def test_a_viewer_reads_rules_and_changes_none(visit: Visit) -> None:
    page = visit("/rules", user="vera", size=PHONE)
    row = page.locator(".df-fleet tbody tr", has_text="hot-db")
    expect(row).to_contain_text("<b>Database busy</b>")
    settled(page)
    assert grave(page) == []
    photograph(page, "rules-phone")
    expect(page.get_by_role("button", name="New rule …")).to_have_count(0)
    row.locator("td").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("role=database")
    expect(dialog.get_by_role("button", name="Preview")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rules_are_listed_with_their_condition_and_active_alerts(visit: Visit, scheme: str) -> None:
    page = visit("/rules", scheme=scheme)
    row = page.locator(".df-fleet tbody tr", has_text="High CPU usage")
    expect(row).to_contain_text("CPU usage (%) ≥ 95 (health settings)")
    expect(row).to_contain_text("1")
    settled(page)
    assert grave(page) == []
    photograph(page, f"rules-{scheme}")


def test_a_machine_says_which_rules_apply_and_why_others_do_not(visit: Visit) -> None:
    page = visit("/machine?id=db-01")
    page.get_by_role("tab", name="Alert rules").click()
    card = page.locator(".st-key-card_rules")
    expect(card).to_contain_text("CPU usage (%) ≥ 98 for 10 min · for role=database")
    expect(card).to_contain_text("does not apply: hot-db is more specific")
    settled(page)
    card.scroll_into_view_if_needed()
    photograph(page, "machine-rules-light")
