"""From the sign-in to the outcome of an action by keyboard alone: no click, fill or focus call."""

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect
from waiting import wait_until

Visit = Callable[..., Page]
PASSWORD = "correct horse battery"
STEPS_MAX = 40
"""Maximum number of Tab presses from one element to the next."""

_HAS_FOCUS = "element => element === document.activeElement"
_WHERE = "document.activeElement.outerHTML.slice(0, 200)"
_ESCAPE_FROM_NOWHERE = """() => {  // at once, before Streamlit gives the focus to something
  document.activeElement.blur();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
}"""
_LOOK = """element => {
  const looks = [];
  for (let depth = 0; element && depth < 5; depth += 1, element = element.parentElement) {
    const style = getComputedStyle(element);
    looks.push([style.outline, style.boxShadow, style.borderColor, style.backgroundColor].join());
  }
  return looks.join();
}"""


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until this element has the focus, and check that the focus is visible."""
    expect(wanted).to_be_visible()
    before = "" if wanted.evaluate(_HAS_FOCUS) else wanted.evaluate(_LOOK)
    for _ in range(STEPS_MAX):
        if wanted.evaluate(_HAS_FOCUS):
            wait_until(lambda: wanted.evaluate(_LOOK) != before, seconds=30, what=f"the focus of {wanted} to show")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{STEPS_MAX} times Tab do not lead to {wanted}, but to {page.evaluate(_WHERE)}")


def press(page: Page, wanted: Locator, key: str = "Enter") -> None:
    tab_to(page, wanted)
    page.keyboard.press(key)


def test_a_machine_is_found_opened_and_asked_without_a_mouse(visit: Visit) -> None:
    page = visit("/", user="")
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type("olga")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    press(page, page.get_by_role("button", name="Sign in"))
    expect(page.locator(".df-fleet tbody tr")).to_have_count(50)

    tab_to(page, page.get_by_role("searchbox"))
    page.keyboard.type("db-0")
    rows = page.locator(".df-fleet tbody tr")
    expect(rows).to_have_count(2)
    press(page, page.get_by_role("link", name="db-01.example.org", exact=True))
    expect(page.get_by_role("heading", name="db-01.example.org")).to_be_visible()

    press(page, page.get_by_role("button", name="Run action …"))
    dialog = page.get_by_role("dialog")
    action = dialog.get_by_role("combobox", name=re.compile("Action"))
    tab_to(page, action)
    page.keyboard.type("Show a")
    expect(page.get_by_role("option")).to_have_count(1)
    page.keyboard.press("Enter")
    tab_to(page, dialog.get_by_role("textbox", name="Text"))
    page.keyboard.type("Back at five")
    press(page, dialog.get_by_role("button", name="Continue"))
    press(page, dialog.get_by_role("button", name="Show a message: 1 machine"))
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_machines_are_ticked_sorted_and_asked_without_a_mouse(visit: Visit) -> None:
    page = visit("/?q=db-0", user="olga")
    header = page.get_by_role("columnheader", name="Machine")
    press(page, header.get_by_role("button"))
    expect(header).to_have_attribute("aria-sort", "ascending")
    for name in ("db-01", "db-02"):
        box = page.get_by_role("checkbox", name=f"Select {name}", exact=True)
        press(page, box, "Space")
        expect(box).to_be_checked()
        expect(box).to_be_focused()
    expect(page.locator(".df-selected")).to_contain_text("2 selected")
    press(page, page.get_by_role("button", name="Run action …"))
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("listitem")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_escape_closes_a_dialog_also_while_nothing_has_the_focus(visit: Visit) -> None:
    page = visit("/machine?id=db-01", user="olga")
    press(page, page.get_by_role("button", name="Run action …"))
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("combobox", name=re.compile("Action"))).to_be_visible()
    page.evaluate(_ESCAPE_FROM_NOWHERE)
    expect(dialog).to_have_count(0)
