"""Every page under axe-core, in both schemes: no serious and no critical finding; at 200 % no text is cut.

The pages are those in `dashboard/pages/`: a new one is tested without an edit here.
"""

import json
import re
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Locator, Page, expect
from screens import CUT, grave, settled

from dashboard import pages
from dashboard.page.page import discover
from dashboard.settings import sections as settings_sections
from dashboard.settings.section import discover_sections

Visit = Callable[..., Page]
QUERIES: Final = {"machine": "?id=web-paris&range=6h", "compare": "?ids=web-paris,db-01&range=6h"}
"""The query that a page needs to show data."""
BACKGROUND: Final = "() => getComputedStyle(document.querySelector('.stApp')).backgroundColor"


def addresses() -> list[str]:
    """Return the address of every page, section and view. The first page is at `/`."""
    _first, *others = (view.path for view, _show in discover(pages))
    sections = [f"/settings?section={each.code}" for each, _show in discover_sections(settings_sections)]
    return ["/", "/?view=map", *(f"/{path}{QUERIES.get(path, '')}" for path in others), *sections]


both_schemes = pytest.mark.parametrize("scheme", ["light", "dark"])


class Findings:
    """Findings by page, reported together at the end."""

    def __init__(self) -> None:
        self.by_place: dict[str, list[str]] = {}

    def look(self, page: Page, place: str) -> None:
        self.by_place[place] = grave(page)

    def look_in_both_schemes(self, page: Page, place: str) -> None:
        """Look at a light page, and again when the system has changed to dark: a quarter of another visit."""
        self.look(page, f"{place} light")
        light = page.evaluate(BACKGROUND)
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"light => ({BACKGROUND})() !== light", arg=light)
        settled(page)
        self.look(page, f"{place} dark")

    def expect_none(self) -> None:
        assert not any(self.by_place.values()), json.dumps(self.by_place, indent=1)


@pytest.fixture
def findings() -> Findings:
    return Findings()


def test_a_grave_finding_is_found(visit: Visit) -> None:
    page = visit(user="")
    assert grave(page) == []
    page.evaluate("document.querySelector('label[for=name]').remove()")
    (found,) = grave(page)
    assert "critical label" in found


def test_no_page_has_one(visit: Visit, findings: Findings) -> None:
    for address in addresses():
        page = visit(address, user="admin")
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        settled(page)
        expect(page.get_by_role("dialog")).to_have_count(0)
        findings.look_in_both_schemes(page, address)
        page.set_viewport_size({"width": 720, "height": 450})  # as a zoom of 200 % makes it
        findings.by_place[f"{address} at 200 %"] = page.evaluate(CUT)
        page.close()  # an open page refreshes until the end, beside all others
    findings.expect_none()


def test_nor_has_one_without_any_data(visit: Visit, findings: Findings) -> None:
    for address in addresses():
        page = visit(address, user="newcomer")  # of an organisation without data
        expect(page.get_by_role("heading").first).to_be_visible()
        settled(page)
        findings.look_in_both_schemes(page, f"{address} without anything")
        page.close()
    findings.expect_none()


@both_schemes
def test_nor_has_one_that_finds_nothing_or_refuses(visit: Visit, findings: Findings, scheme: str) -> None:
    page = visit("/?q=nobody", user="admin", scheme=scheme)
    expect(page.get_by_role("heading", name="No machine matches")).to_be_visible()
    findings.look(page, "no match")
    page = visit("/", user="", scheme=scheme)
    page.get_by_label("User").fill("nobody")
    page.get_by_label("Password").fill("not this one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    findings.look(page, "sign-in refused")
    findings.expect_none()


def pick(page: Page, dialog: Locator, title: str) -> None:
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    page.get_by_role("option", name=title, exact=True).click()


@both_schemes
def test_nor_has_anything_that_opens(visit: Visit, findings: Findings, scheme: str) -> None:
    page = visit(user="olga", scheme=scheme)
    settled(page)
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("combobox", name="Operating system")).to_be_visible()
    findings.look(page, "filters")
    page.keyboard.press("Escape")
    page.get_by_role("checkbox", name="Select db-01", exact=True).check()
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    expect(page.get_by_role("option", name="Reboot")).to_be_visible()
    findings.look(page, "choice of an action")
    page.get_by_role("option", name="Show a message", exact=True).click()
    expect(dialog.get_by_role("textbox", name="Text")).to_be_visible()
    findings.look(page, "form of an action")
    pick(page, dialog, "Reboot")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_role("button", name="Reboot: 1 machine")).to_be_disabled()
    findings.look(page, "confirmation")
    dialog.get_by_role("textbox").fill("db-01")
    dialog.get_by_role("button", name="Reboot: 1 machine").click()
    expect(dialog.get_by_text("1 Succeeded")).to_be_visible()
    findings.look(page, "progress")
    dialog.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", name="reboot: 1 machine")).to_be_visible()
    findings.look(page, "one request")
    page.get_by_role("link", name="db-01.example.org").click()
    expect(page.get_by_role("heading", name="reboot on db-01.example.org")).to_be_visible()
    findings.look(page, "one command")
    findings.expect_none()
