"""The daily questions: what is broken, since when, where, on the first screen and without a click."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from screens import grave, photograph
from seeding import Fleet
from sqlalchemy import delete

from schemas.database import tables

Visit = Callable[..., Page]

ANSWER_SECONDS = 4.0
"""Until the answer is on the screen of a browser that has been there before, on a machine with other work."""
TIME = r"(\d{1,2} \w+, )?\d\d:\d\d"
"""A time, with its day if that is not today: in the first hours of a day most are of yesterday."""


@pytest.fixture
def nantes(fleet: Fleet) -> Iterator[None]:
    """Four machines of one site that went together."""
    away: dict[str, Any] = {"presence": "offline", "reason": "lost", "labels": {"site": "nantes", "hall": "4"}}
    keys = [fleet.machine(f"n-{i}", **away, since_at=fleet.now - 9_000_000 + i * 20_000) for i in range(4)]
    yield
    with fleet.engine.begin() as connection:
        connection.execute(delete(tables.state).where(tables.state.c.machine_id.in_(keys)))
        connection.execute(delete(tables.machine).where(tables.machine.c.id.in_(keys)))


@pytest.mark.usefixtures("nantes")
def test_what_is_broken_since_when_and_where_is_on_the_first_screen_without_a_click(visit: Visit) -> None:
    expect(visit().locator(".df-strip li").first).to_be_visible()  # the browser has the scripts
    began = time.monotonic()
    page = visit()
    site = page.get_by_role("link", name=re.compile(rf"4 machines with site=nantes offline since {TIME}"))
    disk = page.get_by_role("link", name=re.compile(rf"nas: Disk nearly full 99 % since {TIME}"))
    first = page.locator(".df-fleet tbody tr").first
    for answer in (site, disk, page.locator(".df-card[data-code=attention]"), first):
        expect(answer).to_be_visible()
        assert on_screen(page, answer)
    took = time.monotonic() - began
    print(f"what is broken, since when, where: {took:.1f} s")
    assert took <= ANSWER_SECONDS
    expect(page.locator(".df-card").first).to_contain_text(re.compile(r"^10\s*Needs attention$"))
    expect(page).to_have_title("(10) DashFleet")
    expect(first).to_contain_text("Offline")
    expect(first.locator("td.df-col-since")).to_have_text(re.compile(rf"^{TIME}$"))
    expect(first.get_by_role("button", name="site: nantes")).to_be_visible()
    assert grave(page) == []
    photograph(page, "first-screen")
    site.click()
    expect(page.locator(".df-fleet tbody tr")).to_have_count(4)
    expect(page).to_have_url(re.compile(r"\?status=offline&label=site%3Dnantes$"))
    disk.click()
    expect(page.get_by_role("heading", name="nas", exact=True)).to_be_visible()


@pytest.mark.usefixtures("nantes")
def test_on_a_telephone_the_worst_is_on_the_first_screen_too(visit: Visit) -> None:
    page = visit(size=(390, 844))
    site = page.get_by_role("link", name=re.compile("4 machines with site=nantes offline"))
    expect(site).to_be_visible()
    assert on_screen(page, site)
    assert on_screen(page, page.locator(".df-card[data-code=attention]"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    photograph(page, "first-screen-telephone")


def test_an_entry_of_the_strip_is_reached_and_followed_by_the_keyboard(visit: Visit) -> None:
    page = visit(scheme="dark")
    entry = page.get_by_role("link", name=re.compile(r"kassa7 \(till-7\) offline since"))
    entry.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="kassa7")).to_be_visible()


def test_the_focus_and_a_click_stay_with_an_entry_of_the_strip_when_others_come_and_go(
    fleet: Fleet, visit: Visit
) -> None:
    page = visit()
    entry = page.get_by_role("link", name=re.compile("^nas: Disk nearly full"))
    entry.focus()
    key = fleet.machine("new-1", presence="offline", reason="lost", since_at=fleet.now)
    try:
        expect(page.locator(".df-strip li").first).to_contain_text("new-1")
        expect(entry).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="nas", exact=True)).to_be_visible()
    finally:
        with fleet.engine.begin() as connection:
            connection.execute(delete(tables.state).where(tables.state.c.machine_id == key))
            connection.execute(delete(tables.machine).where(tables.machine.c.id == key))


def test_machines_are_added_from_the_fleet_page(visit: Visit) -> None:
    page = visit(user="alone", scheme="dark")
    page.get_by_role("button", name="Or add machines here …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Create token")).to_be_visible()
    photograph(page, "add-machines-dark")
    page.keyboard.press("Escape")


def on_screen(page: Page, answer: Locator) -> bool:
    """Return True if all of it is in the window as it opens."""
    box, size = answer.bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    return box["y"] >= 0 and box["y"] + box["height"] <= size["height"]
