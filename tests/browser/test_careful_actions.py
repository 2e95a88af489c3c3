"""A careful reboot, and dialogs that lose nothing: Escape while untouched, and the form again after a refusal."""

import re
from collections.abc import Callable

from answering import Answerer
from playwright.sync_api import Locator, Page, expect

from schemas.contract.commands import Act, Rollout

Visit = Callable[..., Page]


def test_a_site_is_rebooted_carefully_in_eight_steps(visit: Visit, answerer: Answerer) -> None:
    page = visit(user="olga")
    expect(page.locator(".df-fleet tbody tr").first).to_be_visible()
    page.get_by_role("searchbox").fill("web-0 paris")  # 1
    expect(page.locator(".df-fleet tr[data-id=web-002]")).to_have_count(0)
    page.get_by_role("checkbox", name="Select all on this page").check()  # 2
    page.get_by_role("button", name="Run action …").click()  # 3
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name=re.compile("Action")).click()  # 4
    page.get_by_role("option", name="Reboot", exact=True).click()  # 5
    dialog.get_by_role("button", name="Continue").click()  # 6
    expect(dialog.get_by_text("This interrupts whatever 29 machines are doing")).to_be_visible()
    expect(dialog.get_by_text("2 first, then 10 per minute, stop at 20 % failures")).to_be_visible()
    expect(dialog.get_by_text("Delay in minutes")).to_be_visible()
    expect(dialog.get_by_role("heading", name="site: paris")).to_be_visible()
    dialog.get_by_role("textbox").fill("29")  # 7
    dialog.get_by_role("button", name="Reboot: 29 machines").click()  # 8
    expect(dialog.get_by_text("29 Succeeded")).to_be_visible()
    (act,) = [request.change for request in answerer.heard if isinstance(request.change, Act)]
    assert act.rollout == Rollout(canary=2, per_minute=10, stop_percent=20)
    assert len(act.orders) == 29


def settings_dialog(page: Page) -> Locator:
    page.get_by_role("button", name="Change …").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox").first).to_be_visible()
    return dialog


def test_escape_closes_a_settings_dialog_until_something_is_entered(visit: Visit) -> None:
    page = visit("/settings?section=organisation")
    dialog = settings_dialog(page)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    dialog = settings_dialog(page)
    dialog.get_by_role("textbox").first.fill("60s")
    page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_role("button", name="Change 1 setting")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog.get_by_role("button", name="Change 1 setting")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)


def test_a_refused_change_and_a_refused_action_keep_what_was_entered(visit: Visit, answerer: Answerer) -> None:
    answerer.refusal = "not today"
    page = visit("/settings?section=organisation")
    dialog = settings_dialog(page)
    dialog.get_by_role("textbox").first.fill("60s")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Change 1 setting").click()
    expect(dialog.get_by_text("Refused: not today")).to_be_visible()
    dialog.get_by_role("button", name="Edit and try again").click()
    expect(dialog.get_by_role("textbox").first).to_have_value("60s")
    page.goto(page.url.partition("/settings")[0] + "/machine?id=db-01")
    page.get_by_role("button", name="Run action …").click()
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    page.get_by_role("option", name="Show a message", exact=True).click()
    dialog.get_by_role("textbox", name="Text").fill("Back at five")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("button", name="Show a message: 1 machine").click()
    dialog.get_by_role("button", name="Edit and try again").click()
    expect(dialog.get_by_role("textbox", name="Text")).to_have_value("Back at five")
