"""The pages while a part is down, with real parts: PostgreSQL, broker, ingestor, dashboard."""

import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from brokers import PASSWORD as SECRET
from playwright.sync_api import Browser, Locator, Page, expect
from seeding import ACTIONS, INFO, Fleet
from servers import Postgresql
from sites import Site, now
from visiting import elsewhere

from broker.client.request_client import DASHBOARD
from dashboard.auth.auth_database import open_auth_database
from dashboard.auth.users import add_user
from ingestor.admin.access import add_principal
from runtime.settings.secret_files import write_secret
from runtime.urls import sqlite_url
from schemas.contract.signing import new_key
from schemas.database.engine import open_engine, upgrade

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
PASSWORD = "correct horse battery"
WITHIN_SECONDS = 10.0
BACK = 60_000
"""Milliseconds for a reconnect with growing pauses."""


class Served(Protocol):
    """The type of the fixture `serving` of conftest.py."""

    url: str
    process: Any

    def start(self) -> None: ...
    def stop(self) -> int: ...


class World:
    """All parts, each of which can be stopped."""

    def __init__(self, directory: Path, postgresql: Postgresql, stack: ExitStack) -> None:
        self.directory, self.postgresql = directory, postgresql
        self.postgresql.start()
        self.engine = open_engine(postgresql.url)
        stack.callback(self.engine.dispose)
        upgrade(self.engine)
        self.site = Site(self.engine, "home")
        stack.callback(elsewhere, self.site.stop)
        add_principal(self.engine, DASHBOARD, SECRET, now=now)
        self.fleet = Fleet(self.engine, now=now())
        for name in ("db-01", "db-02"):
            self.fleet.machine(name, info={**INFO, "actions": ACTIONS})
        accounts = open_auth_database(sqlite_url(directory / "auth.db"))
        add_user(accounts, "olga", PASSWORD, "operator", "home")
        accounts.dispose()
        write_secret(directory / "secrets" / "dashboard", SECRET)
        write_secret(directory / "secrets" / "signing" / "home", new_key())


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Check the duration against the limit."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    print(f"{what}: {took:.1f} s")
    assert took < WITHIN_SECONDS, what


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[World]:
    assert browser
    made: list[World] = []
    postgresql = Postgresql()
    with ExitStack() as stack:
        stack.callback(postgresql.remove)
        elsewhere(lambda: made.append(World(tmp_path_factory.mktemp("world"), postgresql, stack)))
        yield made[0]


@pytest.fixture(scope="module")
def served(world: World, request: pytest.FixtureRequest) -> Iterator[Served]:
    serving = request.getfixturevalue("serve")
    with serving(world.directory, world.site.server, world.postgresql.url) as dashboard:
        yield dashboard


@pytest.fixture
def page(served: Served, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open the fleet page with one machine selected, while all parts run."""
    with request.getfixturevalue("visit_at")(browser, served.url) as visit:
        page: Page = visit(user="olga")
        page.get_by_role("checkbox", name="Select db-01", exact=True).check()
        expect(act(page)).to_be_enabled()
        expect(page.locator(".df-banner")).to_have_count(0)
        yield page


def act(page: Page) -> Locator:
    return page.get_by_role("button", name="Run action …")


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_a_database_that_goes_away_is_said_and_nothing_can_be_asked_until_it_is_back(page: Page, world: World) -> None:
    world.postgresql.kill()
    with timed("database away"):
        expect(page.locator(".df-banner")).to_have_text(
            re.compile(
                "The database cannot be read since .* The page shows the state of that time. On the server, check that"
            )
        )
        expect(act(page)).to_be_disabled()
        expect(page.locator(".df-why")).to_contain_text("the database cannot be read")
    expect(page.locator(".df-fleet tr[data-id=db-02]")).to_be_visible()
    photograph(page, "state-no-database-light")
    elsewhere(world.postgresql.start)
    expect(page.locator(".df-banner")).to_have_count(0, timeout=BACK)
    expect(act(page)).to_be_enabled(timeout=BACK)
    expect(page.locator(".df-selected")).to_contain_text("1 selected")


def test_a_page_opened_without_a_database_says_so_and_fills_by_itself(
    served: Served, world: World, browser: Browser, request: pytest.FixtureRequest
) -> None:
    world.postgresql.kill()
    with request.getfixturevalue("visit_at")(browser, served.url) as visit:
        page = visit("/machine?id=db-01", user="olga", scheme="dark")
        expect(page.locator(".df-banner")).to_contain_text("The database cannot be read. On the server")
        photograph(page, "state-never-a-database-dark")
        elsewhere(world.postgresql.start)
        expect(page.get_by_role("heading", name="db-01")).to_be_visible(timeout=BACK)


def test_a_broker_that_goes_away_is_said_in_words(page: Page, world: World) -> None:
    elsewhere(world.site.broker.stop)
    with timed("broker away"):
        expect(page.locator(".df-banner")).to_contain_text("The ingestor has no connection to the broker")
        expect(page.locator(".df-banner")).to_contain_text("On the server, check that the broker is running")
        expect(act(page)).to_be_disabled()
        expect(page.locator(".df-why")).to_have_text(
            re.compile(
                "The broker cannot be reached, so no request can be sent now: (the broker closed|nothing listens)"
            )
        )
    photograph(page, "state-no-broker-light")
    elsewhere(world.site.broker.start)
    expect(page.locator(".df-banner")).to_have_count(0, timeout=BACK)
    expect(act(page)).to_be_enabled(timeout=BACK)


def test_an_ingestor_that_goes_away_is_said_and_a_dialog_can_look_again(page: Page, world: World) -> None:
    act(page).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox", name=re.compile("Action")).click()
    page.get_by_role("option", name="Ping", exact=True).click()
    dialog.get_by_role("button", name="Continue").click()
    send = dialog.get_by_role("button", name="Ping: 1 machine")
    expect(send).to_be_enabled()
    elsewhere(world.site.pause_ingestor)
    with timed("ingestor away"):
        expect(page.locator(".df-banner").first).to_contain_text("The ingestor has not reported since")
        expect(page.locator(".df-banner").first).to_contain_text(
            "check that dashfleet up, or dashfleet ingestor, is running"
        )
    for values in page.locator(".df-gauges, .df-fleet tbody, .df-card").all():
        expect(values).to_have_css("filter", "grayscale(1)")
    assert page.locator(".df-gauges, .df-fleet tbody, .df-card").count()
    send.click()
    expect(dialog.get_by_text("the ingestor, which forwards it, is not reporting")).to_be_visible()
    expect(send).to_be_disabled()
    photograph(page, "state-no-ingestor-dialog-light")
    world.site.start_ingestor()
    expect(page.locator(".stApp .df-banner")).to_have_count(0, timeout=BACK)
    dialog.get_by_role("button", name="Check again").click()
    expect(dialog.get_by_role("button", name="Check again")).to_have_count(0)
    expect(send).to_have_count(1)  # the former one is still there for a moment
    expect(send).to_be_enabled()


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_dashboard_that_goes_away_is_said_and_its_buttons_are_out_of_reach(
    page: Page, served: Served, how: str
) -> None:
    lost = page.get_by_role("alert").filter(has_text="No connection to the dashboard since")
    if how == "stopped":
        served.stop()
    else:
        served.process.send_signal(signal.SIGSTOP)
    with timed(f"dashboard {how}"):
        expect(lost).to_contain_text("check on the server that dashfleet up, or dashfleet dashboard, is running")
        assert page.evaluate("document.querySelector('.st-key-selection').inert")
        expect(page.get_by_role("dialog")).to_have_count(0)
    photograph(page, f"state-dashboard-{how}-light")
    if how == "stopped":
        served.start()
    else:
        served.process.send_signal(signal.SIGCONT)
    expect(lost).to_have_count(0, timeout=BACK)
    expect(page.locator(".df-fleet tr[data-id=db-01]")).to_be_visible()
    assert not page.evaluate("document.querySelector('.st-key-selection')?.inert ?? false")
