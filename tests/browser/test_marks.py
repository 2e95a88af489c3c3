"""No page, dialog or sign-in shows a text that is not marked for translation: the dashboard speaks in brackets here.

The pages are those in `dashboard/views/`: a new one is looked at without a word here.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pytest
from answering import Answerer, succeeds
from brokers import RunningBroker
from playwright.sync_api import Browser, Page, expect
from screens import settled
from seeding import Fleet
from unmarked import PREPARATION, data_of, unmarked

from dashboard.view import discover

Visit = Callable[..., Page]
QUERIES: Final = {"machine": "?id=web-paris&range=6h"}
TYPED: Final = ("admin", "newcomer", "fresh", "olga", "vera", "home", "nobody", "grafana", "<img src=z onerror=alert(5)>", "<b>odd</b>")
"""Who signs in here, their organisations, what is typed or an example of it, and the hostile alert."""


class Readings:
    """What was read where; all of it is told at the end."""

    def __init__(self, data: list[str]) -> None:
        self.data = data
        self.found: dict[str, list[str]] = {}

    def look(self, page: Page, place: str) -> None:
        unknown = unmarked(page, self.data)
        if unknown:
            self.found[place] = unknown

    def expect_none(self) -> None:
        assert not self.found, json.dumps(self.found, indent=1, ensure_ascii=False)


@pytest.fixture(scope="module")
def visit(
    browser: Browser,
    fleet: Fleet,
    directory: Path,
    broker: RunningBroker,
    serve: Callable[..., AbstractContextManager[Any]],
    visit_at: Callable[[Browser, str], AbstractContextManager[Visit]],
) -> Iterator[Visit]:
    assert fleet
    with (
        serve(directory, f"mqtt://127.0.0.1:{broker.port}", preparation=PREPARATION) as dashboard,
        visit_at(browser, dashboard.url) as visit,
    ):
        yield visit


@pytest.fixture
def readings(fleet: Fleet) -> Readings:
    return Readings([*data_of(fleet.engine), *TYPED])


def test_what_is_not_marked_is_found(visit: Visit) -> None:
    page = visit(user="")
    assert unmarked(page, []) == []
    page.evaluate("document.querySelector('label[for=name]').textContent = 'User'")
    assert unmarked(page, []) == ["User"]


def test_every_page_is_marked(visit: Visit, readings: Readings) -> None:
    for view, _show in discover():
        page = visit(f"/{view.path}{QUERIES.get(view.path, '')}")
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        settled(page)
        readings.look(page, view.path)
    readings.expect_none()


def test_so_is_one_that_is_empty_or_refuses(visit: Visit, readings: Readings) -> None:
    for view, _show in discover():
        page = visit(f"/{view.path}", user="newcomer")
        expect(page.get_by_role("heading").first).to_be_visible()
        settled(page)
        readings.look(page, f"{view.path} without anything")
    page = visit("/settings", user="vera")
    expect(page.get_by_text("not for your role")).to_be_visible()
    readings.look(page, "a page for others")
    page = visit("/?q=nobody")
    expect(page.get_by_role("heading", name="No machine matches")).to_be_visible()
    readings.look(page, "no match")
    readings.expect_none()


def test_so_is_the_sign_in(visit: Visit, readings: Readings) -> None:
    page = visit(user="")
    page.get_by_label("User").fill("nobody")
    page.get_by_label("Password").fill("not this one")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    readings.look(page, "sign-in refused")
    readings.expect_none()


def test_so_is_what_opens(visit: Visit, readings: Readings, answerer: Answerer) -> None:
    answerer.ending, answerer.refusal, answerer.silent = succeeds, "", False
    page = visit(user="olga")
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("combobox", name="Operating system")).to_be_visible()
    readings.look(page, "filters")
    page.keyboard.press("Escape")
    settled(page)
    page.get_by_role("radio", name="Map").click()
    expect(page.get_by_role("application")).to_be_visible()
    settled(page)
    readings.look(page, "map")
    page.get_by_role("radio", name="Table").click()
    settled(page)
    page.get_by_role("checkbox", name="db-01", exact=False).check()
    page.get_by_role("checkbox", name="db-02", exact=False).check()
    page.get_by_role("button", name="Act …").click()
    dialog = page.get_by_role("dialog")
    for action in ("Reboot", "message"):
        dialog.get_by_role("combobox", name=re.compile("Action")).click()
        page.get_by_role("option", name=action).click()
        expect(dialog.get_by_role("button", name="Continue")).to_be_visible()
        settled(page)
        readings.look(page, f"form of {action}")
    dialog.get_by_role("button", name="Continue").click()
    readings.look(page, "form with a fault")
    readings.expect_none()
