"""Passkeys over HTTP, with a security key in software: each answer once, at this site alone, and no copy of a key."""

import re
from collections.abc import Callable

import httpx2
import pytest
from clocks import Clock
from security_keys import SecurityKey
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.account.account_page import AccountPage
from dashboard.account.second_step import SecondStep
from dashboard.auth.middleware import ACCOUNT, SECOND_STEP, SECOND_STEP_OPTIONS, SIGN_IN, AuthMiddleware
from dashboard.auth.sign_in import SignIn
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import UserRole, add_user
from dashboard.widgets.asset_files import ASSETS

pytestmark = pytest.mark.usefixtures("quick_hashing")
HERE = "http://testserver"
PASSWORD = "correct horse battery"
Site = Callable[[], TestClient]


async def inside(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello {request.headers['x-df-user']}")


@pytest.fixture
def site(accounts: Engine, clock: Clock) -> Site:
    """Return browsers of a dashboard."""
    for name in ("ada", "eve"):
        add_user(accounts, name, PASSWORD, UserRole.OPERATOR, "acme")

    def browser() -> TestClient:
        sessions = SignInSessions(accounts, clock, idle_seconds=3600, max_seconds=7200)
        sign_in = SignIn(accounts, sessions, clock, port=8501)
        step = SecondStep(accounts, clock, sign_in)
        account = AccountPage(accounts, clock, sign_in, password_min_length=12)
        app = Starlette(
            routes=[*sign_in.routes(), *step.routes(), *account.routes(), Route("/{path:path}", inside)],
            middleware=[Middleware(AuthMiddleware, sessions=sessions, cookie=sign_in.token)],
        )
        return TestClient(app, follow_redirects=False)

    return browser


def post(browser: TestClient, path: str, **form: str) -> httpx2.Response:
    answer: httpx2.Response = browser.post(path, data=form, headers={"origin": HERE})
    return answer


def give_password(browser: TestClient, name: str = "ada") -> str:
    return str(post(browser, SIGN_IN, name=name, password=PASSWORD).headers["location"])


def is_in(browser: TestClient) -> bool:
    return browser.get("/machines").text.startswith("hello")


def registered(browser: TestClient, key: SecurityKey, name: str = "ada") -> httpx2.Response:
    """Sign in and add a passkey."""
    give_password(browser, name)
    return added(browser, key)


def added(browser: TestClient, key: SecurityKey) -> httpx2.Response:
    """Add a passkey on the account page."""
    options = post(browser, ACCOUNT, do="passkey-options", password=PASSWORD).json()["options"]
    return post(browser, ACCOUNT, do="add-passkey", title="Blue key", credential=key.make(options))


def answered(browser: TestClient, key: SecurityKey) -> str:
    """Return the key's answer to a new challenge of the second step."""
    return key.use(post(browser, SECOND_STEP_OPTIONS).json()["options"])


def test_a_passkey_completes_the_sign_in_each_time(site: Site) -> None:
    key = SecurityKey(HERE)
    assert registered(site(), key).status_code == 200
    for _time in range(2):
        browser = site()
        assert give_password(browser) == SECOND_STEP
        assert post(browser, SECOND_STEP, credential=answered(browser, key)).headers["location"] == "/"
        assert is_in(browser)


def test_an_answer_is_of_no_use_a_second_time_or_to_another_sign_in(site: Site) -> None:
    key = SecurityKey(HERE)
    registered(site(), key)
    first, thief = site(), site()
    for browser in (first, thief):
        give_password(browser)
    answer = answered(first, key)
    assert post(thief, SECOND_STEP, credential=answer).status_code == 401
    assert post(first, SECOND_STEP, credential=answer).status_code == 303
    again = site()
    give_password(again)
    post(again, SECOND_STEP_OPTIONS)
    assert post(again, SECOND_STEP, credential=answer).status_code == 401
    assert not is_in(again)


def test_a_challenge_is_answered_within_five_minutes_or_not_at_all(site: Site, clock: Clock) -> None:
    key = SecurityKey(HERE)
    registered(site(), key)
    browser = site()
    give_password(browser)
    answer = answered(browser, key)
    clock.advance(300)
    assert post(browser, SECOND_STEP, credential=answer).status_code == 401


def test_another_site_that_shows_our_challenge_gets_nothing(site: Site) -> None:
    key = SecurityKey(HERE)
    registered(site(), key)
    browser = site()
    give_password(browser)
    key.origin = "https://testserver.evil.example"
    assert post(browser, SECOND_STEP, credential=answered(browser, key)).status_code == 401
    assert registered(site(), SecurityKey("https://evil.example", id=b"another"), "eve").status_code == 400


def test_a_copy_of_a_key_is_noticed_by_its_counter(site: Site) -> None:
    key = SecurityKey(HERE, count=10)
    registered(site(), key)
    browser = site()
    give_password(browser)
    key.count = 4
    assert post(browser, SECOND_STEP, credential=answered(browser, key)).status_code == 401
    key.count = 11
    assert post(browser, SECOND_STEP, credential=answered(browser, key)).status_code == 303


def test_the_key_of_another_user_opens_no_account(site: Site) -> None:
    mine, hers = SecurityKey(HERE, id=b"mine"), SecurityKey(HERE, id=b"hers")
    registered(site(), mine)
    registered(site(), hers, "eve")
    browser = site()
    give_password(browser)
    assert post(browser, SECOND_STEP, credential=answered(browser, hers)).status_code == 401
    hers.id = b"mine"  # the right name, the wrong key
    assert post(browser, SECOND_STEP, credential=answered(browser, hers)).status_code == 401
    assert not is_in(browser)


def test_ten_passkeys_are_enough_and_each_belongs_to_one_user(site: Site) -> None:
    browser = site()
    give_password(browser, "eve")
    answers = [added(browser, SecurityKey(HERE, id=bytes([number]))).status_code for number in range(11)]
    assert answers == [200] * 10 + [400]
    assert registered(site(), SecurityKey(HERE, id=bytes([0]))).status_code == 400, "this id is taken"


@pytest.mark.parametrize("name", ["second-step.html", "account.html"])
def test_a_form_for_a_passkey_cannot_be_sent_before_its_script_runs(name: str) -> None:
    # sent without a passkey it would count as a wrong code
    (form,) = re.findall(r"<form [^>]*data-passkey.*?</form>", (ASSETS / name).read_text(), flags=re.DOTALL)
    assert re.search(r'<button type="submit" disabled\b', form)
