"""The second factor over HTTP: set-up, second step, replay, drift, recovery codes, throttling, and the account page."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx2
import pyotp
import pytest
from clocks import Clock
from sqlalchemy import Engine, insert, select
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.account.account_page import AccountPage
from dashboard.account.second_step import SecondStep
from dashboard.auth.auth_database import account_change, authenticator, identity, passkey
from dashboard.auth.middleware import ACCOUNT, SECOND_STEP, SETUP, SIGN_IN, AuthMiddleware
from dashboard.auth.passwords import AccountError
from dashboard.auth.second_factor import PENDING_SECONDS, RECOVERY_CODES, SecondFactors, reset_second_factor
from dashboard.auth.sign_in import SignIn
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import UserRole, add_user, remove_user, verify

pytestmark = pytest.mark.usefixtures("quick_hashing")
HERE = {"origin": "http://testserver"}
PASSWORD = "correct horse battery"
Site = Callable[..., TestClient]


async def inside(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello {request.headers['x-df-user']}")


@pytest.fixture
def site(accounts: Engine, clock: Clock) -> Site:
    """Return browsers of a dashboard in which these roles require a second factor."""
    add_user(accounts, "ada", PASSWORD, UserRole.OPERATOR, "acme")

    def browser(*required: str) -> TestClient:
        sessions = SignInSessions(accounts, clock, idle_seconds=3600, max_seconds=7200)
        sign_in = SignIn(accounts, sessions, clock, port=8501, second_factor_roles=required)
        step = SecondStep(accounts, clock, sign_in)
        account = AccountPage(accounts, clock, sign_in, password_min_length=14)
        app = Starlette(
            routes=[*sign_in.routes(), *step.routes(), *account.routes(), Route("/{path:path}", inside)],
            middleware=[Middleware(AuthMiddleware, sessions=sessions, cookie=sign_in.token)],
        )
        return TestClient(app, follow_redirects=False)

    return browser


def post(browser: TestClient, path: str, **form: str) -> httpx2.Response:
    answer: httpx2.Response = browser.post(path, data=form, headers=HERE)
    return answer


def give_password(browser: TestClient, wanted: str = "/") -> httpx2.Response:
    return post(browser, SIGN_IN, name="ada", password=PASSWORD, next=wanted)


def is_in(browser: TestClient) -> bool:
    return browser.get("/machines").text == "hello ada"


def secret_in(page: httpx2.Response) -> str:
    found = re.search(r"<code>([A-Z2-7]{32})</code>", page.text)
    assert found, page.text
    return found[1]


def codes_in(page: httpx2.Response) -> list[str]:
    return re.findall(r"<li>([a-z2-7-]{19})</li>", page.text)


def code(secret: str, clock: Clock, *, seconds: int = 0) -> str:
    return pyotp.TOTP(secret).generate_otp((clock.now() + seconds * 1000) // 30_000)


def set_up(browser: TestClient, clock: Clock) -> tuple[str, list[str]]:
    """Set up an app on the account page; return its secret and the recovery codes."""
    assert give_password(browser).headers["location"] == "/"
    secret = secret_in(post(browser, ACCOUNT, do="begin-app", password=PASSWORD))
    done = post(browser, ACCOUNT, do="confirm-app", code=code(secret, clock))
    assert done.status_code == 200, done.text
    clock.advance(60)
    return secret, codes_in(done)


def test_the_password_alone_signs_nobody_in_who_has_a_second_factor(site: Site, clock: Clock) -> None:
    secret, _codes = set_up(site(), clock)
    browser = site()
    assert give_password(browser, "/machine?id=a").headers["location"] == f"{SECOND_STEP}?next=%2Fmachine%3Fid%3Da"
    assert not is_in(browser)
    assert "Code of your authenticator app" in browser.get(SECOND_STEP).text
    done = post(browser, SECOND_STEP, code=code(secret, clock), next="/machine?id=a")
    assert (done.status_code, done.headers["location"]) == (303, "/machine?id=a")
    assert is_in(browser)


def test_a_code_is_accepted_once_also_by_another_browser(site: Site, clock: Clock) -> None:
    secret, _codes = set_up(site(), clock)
    first, second = site(), site()
    for browser in (first, second):
        give_password(browser)
    used = code(secret, clock)
    assert post(first, SECOND_STEP, code=used).status_code == 303
    replayed = post(second, SECOND_STEP, code=used)
    assert (replayed.status_code, is_in(second)) == (401, False)
    assert "This code was already used: wait for the next one." in replayed.text
    clock.advance(30)
    assert post(second, SECOND_STEP, code=code(secret, clock)).status_code == 303


@pytest.mark.parametrize(("seconds", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_drift_of_thirty_seconds_is_accepted(site: Site, clock: Clock, seconds: int, accepted: bool) -> None:
    secret, _codes = set_up(site(), clock)
    clock.advance(300)
    browser = site()
    give_password(browser)
    post(browser, SECOND_STEP, code=code(secret, clock, seconds=seconds))
    assert is_in(browser) == accepted


def test_a_recovery_code_works_once_however_it_is_written(site: Site, clock: Clock) -> None:
    _secret, codes = set_up(site(), clock)
    assert len(set(codes)) == RECOVERY_CODES
    first, second = site(), site()
    for browser in (first, second):
        give_password(browser)
        post(browser, SECOND_STEP, code=f" {codes[3].upper().replace('-', ' ')}")
    assert (is_in(first), is_in(second)) == (True, False)
    assert "Unused codes: 9" in first.get(ACCOUNT).text


def test_five_wrong_codes_slow_down_from_wherever_they_come(site: Site, clock: Clock) -> None:
    secret, _codes = set_up(site(), clock)
    for number in range(5):
        browser = site()
        give_password(browser)
        assert post(browser, SECOND_STEP, code=f"{number:06}").status_code == 401
    slowed = post(browser, SECOND_STEP, code=code(secret, clock))
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "1")
    assert "Too many attempts" in slowed.text
    clock.advance(30)
    assert post(browser, SECOND_STEP, code=code(secret, clock)).status_code == 303


def test_a_pending_sign_in_ends_after_ten_minutes_and_with_a_new_password(site: Site, clock: Clock) -> None:
    secret, _codes = set_up(site(), clock)
    browser = site()
    give_password(browser)
    clock.advance(PENDING_SECONDS)
    late = post(browser, SECOND_STEP, code=code(secret, clock))
    assert (late.status_code, late.headers["location"], is_in(browser)) == (303, SIGN_IN, False)
    assert browser.get(SECOND_STEP).headers["location"] == SIGN_IN


def test_a_role_that_requires_a_second_factor_sets_one_up_before_the_first_page(site: Site, clock: Clock) -> None:
    browser = site("operator")
    assert give_password(browser, "/machines").headers["location"] == f"{SETUP}?next=%2Fmachines"
    assert not is_in(browser)
    assert "Your role requires a second factor" in browser.get(SETUP).text
    secret = secret_in(post(browser, SETUP, do="begin-app", next="/machines"))
    wrong = post(browser, SETUP, do="confirm-app", code="000000", next="/machines")
    assert (wrong.status_code, secret_in(wrong)) == (400, secret)
    done = post(browser, SETUP, do="confirm-app", code=code(secret, clock), next="/machines")
    assert len(codes_in(done)) == RECOVERY_CODES
    assert 'href="/machines"' in done.text
    assert is_in(browser)


def test_who_has_only_the_password_cannot_change_the_second_factor(site: Site, clock: Clock, accounts: Engine) -> None:
    secret, _codes = set_up(site(), clock)
    thief = site("operator")
    give_password(thief)
    for do in ("begin-app", "confirm-app", "remove-app", "add-passkey", "codes", "password"):
        assert post(thief, SETUP, do=do, password=PASSWORD, code=code(secret, clock)).headers["location"] == SIGN_IN
        assert post(thief, ACCOUNT, do=do, password=PASSWORD).status_code == 401
    with accounts.connect() as connection:
        assert connection.execute(select(authenticator.c.secret)).scalar_one() == secret


def test_the_setup_does_nothing_but_add_a_first_factor(site: Site, accounts: Engine) -> None:
    browser = site("operator")
    give_password(browser)
    for do in ("password", "codes", "remove-app", "remove-passkey", "nothing"):
        assert post(browser, SETUP, do=do, password=PASSWORD, new="another horse battery").status_code == 400
    assert verify(accounts, "ada", PASSWORD) is not None


def test_an_open_session_is_not_enough_to_change_anything(site: Site, clock: Clock) -> None:
    browser = site()
    set_up(browser, clock)
    for do in ("begin-app", "remove-app", "codes", "password", "passkey-options"):
        assert post(browser, ACCOUNT, do=do, password="wrong horse battery").status_code in (401, 429)
    assert "Set up: the sign-in asks for its code." in browser.get(ACCOUNT).text


def test_a_change_ends_the_sessions_elsewhere_and_keeps_this_one(site: Site, clock: Clock) -> None:
    here, elsewhere = site(), site()
    give_password(elsewhere)
    set_up(here, clock)
    assert (is_in(here), is_in(elsewhere)) == (True, False)
    renewed = post(here, ACCOUNT, do="codes", password=PASSWORD)
    assert len(codes_in(renewed)) == RECOVERY_CODES
    assert is_in(here)


def test_the_app_is_removed_unless_the_role_requires_it(site: Site, clock: Clock, accounts: Engine) -> None:
    browser = site("operator")
    give_password(browser)
    secret = secret_in(post(browser, SETUP, do="begin-app"))
    post(browser, SETUP, do="confirm-app", code=code(secret, clock))
    refused = post(browser, ACCOUNT, do="remove-app", password=PASSWORD)
    assert (refused.status_code, "Your role requires a second factor" in refused.text) == (400, True)
    optional = site()
    give_password(optional)
    clock.advance(60)
    post(optional, SECOND_STEP, code=code(secret, clock))
    assert post(optional, ACCOUNT, do="remove-app", password=PASSWORD).status_code == 200
    assert give_password(site()).headers["location"] == "/"
    with accounts.connect() as connection:
        kinds = connection.scalars(select(account_change.c.kind).order_by(account_change.c.id)).all()
    assert kinds[-2:] == ["add-second-factor", "remove-second-factor"]


def test_the_password_is_changed_by_its_user_within_the_policy(site: Site, accounts: Engine) -> None:
    browser = site()
    give_password(browser)
    for new, why in (
        ("thirteen char", "A password has 14 to 1024 characters."),
        ("abababababababab", "This password repeats a few characters"),
    ):
        refused = post(browser, ACCOUNT, do="password", password=PASSWORD, new=new)
        assert (refused.status_code, why in refused.text) == (400, True)
    assert post(browser, ACCOUNT, do="password", password=PASSWORD, new="another horse battery").status_code == 200
    assert is_in(browser)
    assert verify(accounts, "ada", PASSWORD) is None
    assert verify(accounts, "ada", "another horse battery") is not None


def test_a_reset_lets_the_password_sign_in_alone_and_ends_all_sessions(
    site: Site, clock: Clock, accounts: Engine
) -> None:
    browser = site()
    set_up(browser, clock)
    reset_second_factor(accounts, "ada", by="root")
    assert not is_in(browser)
    assert give_password(browser).headers["location"] == "/"
    with pytest.raises(AccountError, match="ada has no second factor"):
        reset_second_factor(accounts, "ada")
    with pytest.raises(AccountError, match="there is no user eve"):
        reset_second_factor(accounts, "eve")


def test_a_start_that_requires_a_second_factor_ends_the_sessions_without_one(
    site: Site, clock: Clock, accounts: Engine
) -> None:
    add_user(accounts, "vera", PASSWORD, UserRole.VIEWER, "acme")
    without, viewer = site(), site()
    give_password(without)
    post(viewer, SIGN_IN, name="vera", password=PASSWORD)
    SecondFactors(accounts, clock).end_sessions_without()
    assert is_in(without)
    SecondFactors(accounts, clock, ["operator"]).end_sessions_without()
    assert not is_in(without)
    assert viewer.get("/machines").text == "hello vera"
    protected = site()
    set_up(protected, clock)
    SecondFactors(accounts, clock, ["operator"]).end_sessions_without()
    assert is_in(protected)


def test_a_removed_user_leaves_no_second_factor_to_the_next_one(site: Site, clock: Clock, accounts: Engine) -> None:
    set_up(site(), clock)
    remove_user(accounts, "ada")
    add_user(accounts, "ada", PASSWORD, UserRole.VIEWER, "other")
    assert give_password(site()).headers["location"] == "/"


def test_a_user_of_a_provider_changes_nothing_here(site: Site, accounts: Engine) -> None:
    browser = site()
    give_password(browser)
    with accounts.begin() as connection:
        connection.execute(insert(identity).values(subject="[]", user_id=1))
    assert "You sign in with a single sign-on provider" in browser.get(ACCOUNT).text
    assert post(browser, ACCOUNT, do="begin-app", password=PASSWORD).status_code == 403


def test_another_site_can_neither_answer_nor_change(site: Site, clock: Clock) -> None:
    secret, _codes = set_up(site(), clock)
    browser = site()
    give_password(browser)
    for path in (SECOND_STEP, SETUP, ACCOUNT, f"{SECOND_STEP}/options"):
        forged = browser.post(path, data={"code": code(secret, clock)}, headers={"origin": "https://evil.example"})
        assert forged.status_code in (401, 403)
    assert not is_in(browser)


def test_an_answer_that_is_no_passkey_is_refused(site: Site, clock: Clock, accounts: Engine) -> None:
    browser = site()
    give_password(browser)
    for answer in ("", "{}", "[]", "no json", '{"id": "x", "rawId": "x", "type": "public-key", "response": {}}'):
        options = post(browser, ACCOUNT, do="passkey-options", password=PASSWORD).json()["options"]
        assert options["rp"]["id"] == "testserver"
        refused = post(browser, ACCOUNT, do="add-passkey", title="Key", credential=answer)
        assert (refused.status_code, "The passkey was not accepted." in refused.text) == (400, True)
    with accounts.begin() as connection:
        row = {"user_id": 1, "public_key": "AAAA", "sign_count": 0, "title": "Key", "created_at": clock.now()}
        connection.execute(insert(passkey).values(id="AAAA", **row))
    thief = site()
    assert give_password(thief).headers["location"] == SECOND_STEP
    assert post(thief, f"{SECOND_STEP}/options").json()["options"]["allowCredentials"][0]["id"] == "AAAA"
    for answer in ("{}", '{"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": {}}'):
        assert post(thief, SECOND_STEP, credential=answer).status_code == 401
    assert not is_in(thief)


def test_no_secret_is_stored_in_the_clear_but_that_of_the_app(
    site: Site, clock: Clock, accounts: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    secret, codes = set_up(site(), clock)
    browser = site()
    give_password(browser)
    token = next(value for name, value in browser.cookies.items() if name.endswith("-pending"))
    post(browser, SECOND_STEP, code=codes[0])
    path = Path(accounts.url.database or "")
    stored = b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))
    assert secret.encode() in stored  # the file is its owner's alone: see test_users
    for hidden in (token, *codes, *(each.replace("-", "") for each in codes)):
        assert hidden.encode() not in stored
    assert secret not in caplog.text
