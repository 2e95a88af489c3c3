"""Hostile strings in every field that a machine can set, through a real broker and ingestor, on every page.

None of them is executed, loads a resource, or leaves its card.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from brokers import PASSWORD as SECRET
from hostile import CORPUS, impostors
from playwright.sync_api import Browser, Page, expect
from screens import photograph, settled
from sites import Site, now
from visiting import PASSWORD, Visitors, elsewhere
from waiting import wait_until

from broker.client.request_client import DASHBOARD
from dashboard import pages
from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import add_user
from dashboard.page.page import discover
from ingestor.admin.access import add_principal, new_principal
from runtime.settings.secret_files import write_secret
from runtime.urls import sqlite_url
from schemas.contract.signing import new_key
from schemas.database.engine import open_engine, upgrade
from schemas.database.queries.machines import list_machines

SIZES: Final = {"desk": (1440, 900), "telephone": (390, 844)}
COUNT_WHAT_RUNS: Final = "window.ran = []; window.hacked = (number) => { window.ran.push(number); };"
OUTSIDE: Final = """() => {
  const cards = "[class*=st-key-card], .df-gauge, .df-card, .df-fleet td, [role=dialog], .df-banner, .df-title, " +
    "[class*=st-key-selection], [data-testid=stSidebar], [data-testid=stMain]";
  const clips = (element) => getComputedStyle(element).overflowX !== "visible";
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (!text.data.trim() || box.width < 2 || box.height < 2 || text.parentElement.closest("script, style")) continue;
    let element = text.parentElement;
    while (element && !element.matches(cards) && !clips(element)) element = element.parentElement;
    if (!element || clips(element)) continue;
    const card = element.getBoundingClientRect();
    if (box.left < card.left - 1 || box.right > card.right + 1)
      found.push(`${element.className || element.tagName}: ${text.data.slice(0, 60)}`);
  }
  const main = document.querySelector("[data-testid=stMain]");
  if (main.scrollWidth > main.clientWidth + 1) found.push(`the page scrolls sideways: ${main.scrollWidth}`);
  for (const row of document.querySelectorAll(".df-fleet tbody tr"))
    if (row.offsetHeight > 160) found.push(`a row is ${row.offsetHeight} high`);
  return found;
}"""


class World:
    """A broker, an ingestor, and a machine for each group of strings."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.engine = open_engine(sqlite_url(directory / "fleet.db"))
        upgrade(self.engine)
        self.site = Site(self.engine, "home")
        stack.callback(elsewhere, self.site.stop)
        add_principal(self.engine, DASHBOARD, SECRET, now=now)
        secrets = {group: new_principal(self.engine, "home", group, "machine", now=now) for group in CORPUS}
        accounts = open_auth_database(sqlite_url(directory / "auth.db"))
        add_user(accounts, "admin", PASSWORD, "admin", "home")
        accounts.dispose()
        write_secret(directory / "secrets" / "dashboard", SECRET)
        write_secret(directory / "secrets" / "signing" / "home", new_key())
        stack.enter_context(impostors(self.site.broker.address, secrets))
        wait_until(self._all_are_there, what="every machine with its inventory")

    def _all_are_there(self) -> bool:
        rows = list_machines(self.engine)
        return len(rows) == len(CORPUS) and all(row["presence"] == "online" and row["hostname"] for row in rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[World]:
    assert browser
    made: list[World] = []
    with ExitStack() as stack:
        elsewhere(lambda: made.append(World(tmp_path_factory.mktemp("hostile"), stack)))
        stack.callback(made[0].engine.dispose)
        yield made[0]


@pytest.fixture(scope="module")
def url(world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    with request.getfixturevalue("serve")(world.directory, world.site.server) as dashboard:
        yield dashboard.url


@pytest.fixture(scope="module")
def visitors(browser: Browser, url: str) -> Iterator[Visitors]:
    visitors = Visitors(browser, url)
    yield visitors
    visitors.close()


@pytest.fixture
def look(url: str, visit: Callable[..., Page]) -> Callable[..., Page]:
    """Open a page and check that no string was executed or left its card. At the end: no dialog, no foreign request."""

    def look(path: str, size: str = "desk", scheme: str = "light") -> Page:
        page = visit("/readyz", user="admin", scheme=scheme, size=SIZES[size])
        page.add_init_script(COUNT_WHAT_RUNS)
        page.goto(url + path)
        expect(page.locator("h1, h2").first).to_be_visible()
        settled(page)
        harmless(page)
        return page

    return look


def harmless(page: Page) -> None:
    """Check that no string was executed, became an element, or left its card."""
    assert page.evaluate("window.ran") == []
    elements = "img[src=x], iframe, a[href^='javascript:'], meta[http-equiv=refresh], base, [onerror], [onmouseover]"
    assert page.locator(elements).evaluate_all("found => found.map(each => each.outerHTML.slice(0, 200))") == []
    links = "links => links.filter(link => link.host !== location.host).map(link => link.outerHTML.slice(0, 200))"
    assert page.locator("a[href]").evaluate_all(links) == []
    wait_until(lambda: page.evaluate(OUTSIDE) == [], seconds=30, what=f"all in its place: {page.evaluate(OUTSIDE)}")


@pytest.mark.parametrize("size", SIZES)
def test_every_page_shows_them_as_text(look: Any, size: str) -> None:  # noqa: ANN401 - a function of the fixture's
    for view, _show in discover(pages)[1:]:
        page = look(f"/{view.path}", size)
        photograph(page, f"hostile-{view.path}-{size}")
        page.close()  # an open page refreshes until the end, beside all others
    look("/?view=map", size).close()
    page = look("/", size)
    photograph(page, f"hostile-fleet-{size}")
    expect(page.locator(".df-fleet tbody tr")).to_have_count(len(CORPUS))
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("combobox", name="Operating system").click()
    expect(page.get_by_role("option").first).to_be_visible()
    harmless(page)
    photograph(page, f"hostile-filters-{size}")


@pytest.mark.parametrize(("group", "size"), [*((group, "desk") for group in CORPUS), ("lengths", "telephone")])
def test_a_machines_page_shows_them_as_text(look: Any, group: str, size: str) -> None:  # noqa: ANN401
    page = look(f"/machine?id={group}", size, "dark" if size == "telephone" else "light")
    expect(page.locator("[class*=st-key-card_extra] canvas").first).to_be_visible()
    for chart in page.locator("[class*=st-key-card_extra] canvas").all()[:3]:
        chart.hover()
    harmless(page)
    photograph(page, f"hostile-machine-{group}-{size}")


@pytest.mark.parametrize("group", CORPUS)
def test_what_it_offers_and_answers_is_text(look: Any, group: str) -> None:  # noqa: ANN401
    page = look(f"/machine?id={group}")
    page.get_by_role("button", name="Run action …").click()
    dialog = page.get_by_role("dialog")
    action = dialog.get_by_role("combobox", name=re.compile("Action"))
    action.click()
    expect(page.get_by_role("option").first).to_be_visible()
    harmless(page)
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Continue")).to_be_visible()
    expect(dialog.get_by_role("textbox").first).to_be_visible()
    harmless(page)
    photograph(page, f"hostile-form-{group}")
    dialog.get_by_role("button", name="Continue").click()
    send = dialog.get_by_role("button", name=re.compile("1 machine"))
    harmless(page)
    photograph(page, f"hostile-confirmation-{group}")
    send.click()
    expect(dialog.get_by_text("1 Failed")).to_be_visible()
    harmless(page)
    photograph(page, f"hostile-outcome-{group}")
    dialog.get_by_role("link", name="Activity").click()
    expect(page.get_by_role("heading", level=1, name=re.compile("1 machine"))).to_be_visible()
    harmless(page)
    page.locator(".df-fleet .df-name").first.click()
    expect(page.get_by_text(re.compile(r"^action_\d+$")).first).to_be_visible()
    expect(page.get_by_text("Command id")).to_be_visible()
    harmless(page)
    photograph(page, f"hostile-command-{group}")
