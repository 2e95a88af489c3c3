"""Sign-in with a real browser and a real provider: guessing, cookies, the end of sessions, and what is sent."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Response, WebSocket, expect
from providers import provider
from screens import grave, photograph, settled
from seeding import Fleet
from servers import free_port
from sqlalchemy import Engine, delete, update
from visiting import PASSWORD

from dashboard import pages
from dashboard.auth.auth_database import attempt, open_auth_database
from dashboard.auth.middleware import SINGLE_SIGN_ON_BACK
from dashboard.auth.users import UserRole, add_user, remove_user, set_password
from dashboard.page.page import discover
from runtime.settings.secret_files import write_secret
from runtime.urls import sqlite_url

Visit = Callable[..., Page]
WITHIN_SECONDS: Final = 5.0
RIVAL: Final = "zanzibar"
"""Part of every text of the other organisation, and of no other text."""


class Dashboard(Protocol):
    """The type of the fixture with this name in conftest.py."""

    url: str
    port: int


@pytest.fixture
def accounts(directory: Path) -> Iterator[Engine]:
    engine = open_auth_database(sqlite_url(directory / "auth.db"))
    yield engine
    engine.dispose()


def enter(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("User").fill(name)
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def test_guessing_is_slowed_down_and_the_page_says_for_how_long(
    visit: Visit, dashboard: Dashboard, accounts: Engine
) -> None:
    add_user(accounts, "guessed", PASSWORD, UserRole.VIEWER, "home")
    page = visit("/", user="")
    answers = []
    for number in range(30):  # on a busy machine an attempt can take longer than the first waits
        form = {"name": "guessed", "password": f"guess number {number}", "next": "/"}
        answers.append(httpx2.post(f"{dashboard.url}/sign-in", data=form, headers={"origin": dashboard.url}))
        if number >= 7 and answers[-1].status_code == 429:
            break
    assert [answer.status_code for answer in answers[:5]] == [401] * 5
    assert 429 in [answer.status_code for answer in answers[5:]]
    waits = [int(answer.headers["retry-after"]) for answer in answers if answer.status_code == 429]
    assert min(waits) >= 1
    with accounts.begin() as connection:  # as after more failed attempts
        later = time.time_ns() // 1_000_000 + 3_600_000
        own = attempt.c.key.startswith("user:guessed@")
        assert connection.execute(update(attempt).where(own).values(next_at=later)).rowcount == 1
    enter(page, "guessed")
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"Too many attempts\. Try again in [\d,]+ seconds?\."))
    photograph(page, "sign-in-slowed-light")
    with accounts.begin() as connection:
        connection.execute(delete(attempt))


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(visit: Visit, dashboard: Dashboard) -> None:
    page = visit("/", user="vera")
    expect(page.locator(".df-fleet tbody tr").first).to_be_visible()
    (cookie,) = [each for each in page.context.cookies() if each["name"] == f"dashfleet-{dashboard.port}"]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert cookie["expires"] == -1
    assert cookie["value"] not in page.evaluate("document.cookie") + page.content()


def test_behind_tls_the_cookie_only_travels_encrypted(dashboard: Dashboard) -> None:
    form = {"name": "vera", "password": PASSWORD, "next": "/"}
    host = f"127.0.0.1:{dashboard.port}"
    headers = {"origin": f"https://{host}", "x-forwarded-proto": "https"}
    answer = httpx2.post(f"{dashboard.url}/sign-in", data=form, headers=headers)
    assert answer.status_code == 303
    cookie = answer.headers.get_list("set-cookie")[0]
    assert cookie.startswith(f"__Host-dashfleet-{dashboard.port}=")
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(cookie.lower().split("; "))
    assert "domain" not in cookie.lower()


@pytest.mark.parametrize("how", ["removed", "password"])
def test_a_session_that_is_revoked_is_out_within_five_seconds(
    visit: Visit, dashboard: Dashboard, accounts: Engine, how: str
) -> None:
    name = f"leaver-{how}"
    add_user(accounts, name, PASSWORD, UserRole.OPERATOR, "home")
    page = visit("/", user="")
    enter(page, name)
    expect(page.locator(".df-fleet tbody tr").first).to_be_visible()
    kept = {each["name"]: each["value"] for each in page.context.cookies()}
    began = time.monotonic()
    if how == "removed":
        remove_user(accounts, name)
    else:
        set_password(accounts, name, "another battery staple")
    expect(page.get_by_label("Password")).to_be_visible()
    took = time.monotonic() - began
    print(f"{how}: out after {took:.1f} s")
    assert took < WITHIN_SECONDS
    assert httpx2.get(f"{dashboard.url}/whoami", cookies=kept).status_code == 401


class Heard:
    """Everything that a page receives: bodies and frames."""

    def __init__(self, page: Page) -> None:
        self.bodies: list[bytes] = []
        self.frames: list[bytes] = []
        page.on("response", self._body)
        page.on("websocket", self._socket)

    def _socket(self, socket: WebSocket) -> None:
        socket.on(
            "framereceived", lambda frame: self.frames.append(frame if isinstance(frame, bytes) else frame.encode())
        )

    def _body(self, response: Response) -> None:
        if response.status == 200 and "/static/" not in response.url:
            self.bodies.append(response.body())

    def has(self, text: str) -> bool:
        return any(text.encode() in each for each in (*self.bodies, *self.frames))


@pytest.fixture
def rivals(fleet: Fleet, accounts: Engine) -> None:
    add_user(accounts, "rival", PASSWORD, UserRole.ADMIN, "rivals")
    key = fleet.machine(
        f"{RIVAL}-1", org="rivals", hostname=f"{RIVAL}.example.org", labels={"site": RIVAL}, os=f"{RIVAL} OS"
    )
    fleet.minutes(key, [50.0] * 20)
    fleet.incident("cloned-identity", org="rivals", machine=f"{RIVAL}-1")


def walk(page: Page, url: str, role: UserRole) -> None:
    """Visit every page of this role, and the addresses that a guessing user would try."""
    for view, _show in discover(pages)[1:]:
        if role in view.roles:
            page.goto(f"{url}/{view.path}")
            settled(page)
    for address in (f"/machine?id={RIVAL}-1", "/?view=map&group=label:site", f"/?q={RIVAL[:4]}", "/"):
        page.goto(url + address)
        settled(page)
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("combobox", name="Operating system").click()
    expect(page.get_by_role("option").first).to_be_visible()


@pytest.mark.usefixtures("rivals")
def test_nothing_of_another_organisation_is_sent_to_a_viewer(visit: Visit, dashboard: Dashboard) -> None:
    theirs = visit("/readyz", user="rival")
    heard = Heard(theirs)
    walk(theirs, dashboard.url, UserRole.ADMIN)
    for text in (f"{RIVAL}.example.org", f"{RIVAL} OS", f"site: {RIVAL}"):
        assert heard.has(text), "or this test hears nothing"

    page = visit("/readyz", user="vera")
    heard = Heard(page)
    walk(page, dashboard.url, UserRole.VIEWER)
    assert len(heard.frames) > 20
    assert heard.has("db-01.example.org")
    for text in (f"{RIVAL}.example.org", f"{RIVAL} OS", f"site: {RIVAL}", "rivals"):
        assert not heard.has(text), text
    assert RIVAL not in page.content()


@pytest.fixture
def provided(
    tmp_path: Path, serve: Callable[..., AbstractContextManager[Dashboard]], browser: Browser
) -> Iterator[Dashboard]:
    assert browser
    port = free_port()
    ada = {"sub": "ada", "preferred_username": "ada", "groups": ["staff"]}
    with provider(f"http://127.0.0.1:{port}{SINGLE_SIGN_ON_BACK}", ada) as known:
        write_secret(tmp_path / "secrets" / "oidc", known.secret)
        write_secret(tmp_path / "secrets" / "dashboard", "none")
        more: dict[str, Any] = {
            "oidc_issuer": known.issuer,
            "oidc_client_id": known.client_id,
            "oidc_secret_file": str(tmp_path / "secrets" / "oidc"),
            "oidc_grants": {"staff": "home:viewer"},
        }
        with serve(tmp_path, "mqtt://127.0.0.1:1", port=port, more=more) as dashboard:
            yield dashboard


def test_a_person_of_a_provider_comes_in_through_it(provided: Dashboard, browser: Browser) -> None:
    context = browser.new_context(color_scheme="dark", locale="en-GB")
    page = context.new_page()
    page.goto(f"{provided.url}/problems")
    expect(page.get_by_label("User")).to_be_focused()
    assert grave(page) == []
    photograph(page, "sign-in-provider-dark")
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    page.get_by_role("button", name="ada").click()
    expect(page.locator(".df-visitor")).to_contain_text("ada@127.0.0.1")
    assert page.url == f"{provided.url}/problems"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    context.close()
