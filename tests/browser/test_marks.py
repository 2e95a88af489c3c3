"""No page, dialog or sign-in shows a text that is not marked for translation: a test language puts texts in brackets.

The pages are those in `dashboard/pages/`: a new one is tested without an edit here.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import pytest
from playwright.sync_api import Browser, Page, expect
from screens import settled
from seeding import Fleet
from unmarked import PREPARATION, data_of, unmarked

from dashboard import pages
from dashboard.page.page import discover
from dashboard.settings import sections
from dashboard.settings.section import discover_sections

Visit = Callable[..., Page]
QUERIES: Final = {"machine": "?id=web-paris&range=6h"}
TYPED: Final = (
    "admin",
    "newcomer",
    "fresh",
    "olga",
    "vera",
    "home",
    "nobody",
    "grafana",
    "<img src=z onerror=alert(5)>",
    "<b>odd</b>",
    "<b>db-02</b>",
    "not today",
    "vitals.cpu_percent: Input should be less than or equal to 100",
    "dashfleet/v1/",
    "up/telemetry",
)
"""Users, organisations, typed texts and examples, hostile names, and a rejected message."""


class Speaking(Protocol):
    """A dashboard of conftest.py."""

    preparation: str

    def start(self) -> None: ...
    def stop(self) -> int: ...


class Readings:
    """Unmarked texts by page, reported together at the end."""

    def __init__(self, data: list[str]) -> None:
        self.data = data
        self.found: dict[str, list[str]] = {}

    def look(self, page: Page, place: str) -> None:
        unknown = unmarked(page, self.data)
        if unknown:
            self.found[place] = unknown

    def expect_none(self) -> None:
        assert not self.found, json.dumps(self.found, indent=1, ensure_ascii=False)


@pytest.fixture(scope="module", autouse=True)
def brackets(dashboard: Speaking, browser: Browser) -> Iterator[None]:
    """The shared dashboard, restarted in the test language, and in English afterwards."""
    assert browser
    for preparation in (PREPARATION, ""):
        dashboard.stop()
        dashboard.preparation = preparation
        dashboard.start()
        if preparation:
            yield


@pytest.fixture
def readings(fleet: Fleet) -> Readings:
    return Readings([*TYPED, *data_of(fleet.engine)])


def test_what_is_not_marked_is_found(visit: Visit) -> None:
    page = visit(user="")
    assert unmarked(page, []) == []
    page.evaluate("document.querySelector('label[for=name]').textContent = 'User'")
    assert unmarked(page, []) == ["User"]


def test_every_page_is_marked(visit: Visit, readings: Readings) -> None:
    for view, _show in discover(pages):
        page = visit(f"/{view.path}{QUERIES.get(view.path, '')}")
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        settled(page)
        readings.look(page, view.path)
        page.close()  # an open page refreshes until the end, beside all others
    readings.expect_none()


def test_so_is_one_that_is_empty_or_refuses(visit: Visit, readings: Readings) -> None:
    for view, _show in discover(pages):
        page = visit(f"/{view.path}", user="newcomer")
        expect(page.get_by_role("heading").first).to_be_visible()
        settled(page)
        readings.look(page, f"{view.path} without anything")
        page.close()
    page = visit("/settings", user="vera")
    expect(page.get_by_text("do not have access to this page")).to_be_visible()
    readings.look(page, "a page for others")
    page = visit("/?q=nobody")
    expect(page.get_by_role("heading", name="No machine matches")).to_be_visible()
    readings.look(page, "no match")
    page = visit("/?view=map")
    expect(page.get_by_role("application")).to_be_visible()
    readings.look(page, "map")
    readings.expect_none()


def test_so_is_the_sign_in(visit: Visit, readings: Readings) -> None:
    page = visit(user="")
    page.get_by_label("User").fill("nobody")
    page.get_by_label("Password").fill("not this one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    readings.look(page, "sign-in refused")
    readings.expect_none()


def test_so_is_what_opens(visit: Visit, readings: Readings) -> None:
    page = visit(user="olga")
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("combobox", name="Operating system")).to_be_visible()
    readings.look(page, "filters")
    page.keyboard.press("Escape")
    for name in ("db-01", "db-02"):
        page.get_by_role("checkbox", name=f"Select {name}").check()
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    for action in ("Show a message", "Reboot"):
        dialog.get_by_role("combobox", name=re.compile("Action")).click()
        page.get_by_role("option", name=action).click()
        settled(page)
        readings.look(page, f"form of {action}")
    expect(dialog.get_by_text("Rolling rollout")).to_have_count(1)
    dialog.get_by_text("Rolling rollout").click()
    expect(dialog.get_by_role("spinbutton", name="Canary machines")).to_be_visible()
    readings.look(page, "rolling rollout")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text("to confirm")).to_be_visible()
    readings.look(page, "confirmation")
    dialog.get_by_role("textbox").fill("2")
    dialog.get_by_role("button", name="Reboot").click()
    expect(dialog.get_by_text("2 ⟦Succeeded⟧")).to_be_visible()
    readings.look(page, "progress")
    dialog.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", name="reboot")).to_be_visible()
    readings.look(page, "one request")
    page.get_by_role("link", name="db-01.example.org").click()
    expect(page.get_by_role("heading", name="db-01.example.org")).to_be_visible()
    readings.look(page, "one command")
    readings.expect_none()


def test_so_is_every_section_of_the_settings_and_what_it_opens(visit: Visit, readings: Readings) -> None:
    """Open every dialog of a section: buttons with … in their name."""
    for section, _show in discover_sections(sections):
        page = visit(f"/settings?section={section.code}")
        opening = page.locator("[data-testid=stMain]").get_by_role("button", name="…")
        settled(page)
        readings.look(page, section.code)
        for i in range(opening.count()):
            settled(page)
            opening.nth(i).click()
            expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_visible()
            readings.look(page, f"{section.code}, {i + 1}")
            page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
            expect(page.get_by_role("dialog")).to_have_count(0)
        page.close()
    readings.expect_none()
