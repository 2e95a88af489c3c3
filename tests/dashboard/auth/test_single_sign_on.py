"""Single sign-on with a real OpenID Connect provider in its own process, behind the middleware."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from clocks import Clock
from providers import Provider, agree, provider
from servers import free_port
from sqlalchemy import Engine, select
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.auth.auth_database import session
from dashboard.auth.middleware import SINGLE_SIGN_ON, SINGLE_SIGN_ON_BACK, AuthMiddleware
from dashboard.auth.sign_in import SignIn
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.single_sign_on import SingleSignOn
from dashboard.auth.sso_accounts import Grant, granted, name_of
from dashboard.auth.users import UserRole, add_user, list_users, verify
from runtime.errors import SettingsError
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.secret_files import write_secret

pytestmark = pytest.mark.usefixtures("quick_hashing")
HERE = "http://testserver"
PEOPLE: list[dict[str, Any]] = [
    {"sub": "1", "preferred_username": "ada", "groups": ["staff", "fleet-admins"]},
    {"sub": "2", "email": "olga@example.org", "email_verified": True, "groups": ["staff"]},
    {"sub": "3", "preferred_username": "eve", "groups": ["cleaning"]},
    {"sub": "4", "preferred_username": "ada", "groups": ["staff"]},
    {"sub": "6", "email": "boss@example.org", "email_verified": False, "groups": ["staff"]},
    {"sub": "7", "preferred_username": "boss@example.org", "groups": ["staff"]},
    {"sub": "5", "preferred_username": "<b>\r\nX-Df-Role: admin", "realm_access": {"roles": ["staff"]}},
]
GRANTS = {"fleet-admins": "acme:admin", "staff": "acme:operator", "guests": "other:viewer"}


@pytest.fixture(scope="module")
def known() -> Iterator[Provider]:
    with provider(HERE + SINGLE_SIGN_ON_BACK, *PEOPLE) as running:
        yield running


async def identity(request: Request) -> JSONResponse:
    return JSONResponse({name: value for name, value in request.headers.items() if name.startswith("x-df-")})


class Site:
    """The middleware, the sign-in and the provider; its browsers do not follow redirects."""

    def __init__(self, accounts: Engine, clock: Clock, directory: Path, known: Provider, **given: Any) -> None:  # noqa: ANN401
        write_secret(directory / "oidc", known.secret)
        values = {"oidc_issuer": known.issuer, "oidc_client_id": known.client_id, "oidc_grants": GRANTS, **given}
        urls = {"database": "sqlite://", "auth_database": "sqlite://", "password_file": directory / "oidc"}
        settings = DashboardSettings.model_validate(
            {
                "data": directory,
                "server": "mqtt://127.0.0.1:1",
                **urls,
                "oidc_secret_file": directory / "oidc",
                **values,
            }
        )
        self.accounts = accounts
        self.sessions = SignInSessions(accounts, clock, idle_seconds=3600, max_seconds=7200)
        sign_in = SignIn(accounts, self.sessions, clock, port=8501, provider=settings.oidc_host)
        provided = SingleSignOn(settings, accounts, sign_in).routes()
        self.app = Starlette(
            routes=[*sign_in.routes(), *provided, Route("/{path:path}", identity)],
            middleware=[Middleware(AuthMiddleware, sessions=self.sessions, cookie=sign_in.token)],
        )

    def browser(self) -> TestClient:
        return TestClient(self.app, base_url=HERE, follow_redirects=False)

    def go(self, browser: TestClient, sub: str, wanted: str = "/") -> httpx2.Response:
        """Sign in at the provider and return."""
        there = browser.get(f"{SINGLE_SIGN_ON}?{urlencode({'next': wanted})}")
        assert there.status_code == 302, there.text
        return browser.get(agree(there.headers["location"], sub))


@pytest.fixture
def site(accounts: Engine, clock: Clock, tmp_path: Path, known: Provider) -> Site:
    return Site(accounts, clock, tmp_path, known)


def test_who_is_granted_something_comes_in_as_it_says_and_where_they_wanted(site: Site) -> None:
    browser = site.browser()
    assert "Sign in with 127.0.0.1" in browser.get("/sign-in?next=/machine?id=a").text
    answer = site.go(browser, "1", "/machine?id=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/machine?id=a")
    who = browser.get("/").json()
    assert (who["x-df-user"], who["x-df-org"], who["x-df-role"]) == ("ada@127.0.0.1", "acme", "admin")
    assert browser.post("/sign-out", headers={"origin": HERE}).status_code == 303
    assert browser.get("/").status_code == 401


def test_an_address_is_the_name_and_the_second_sign_in_finds_the_same_person(site: Site) -> None:
    for _ in range(2):
        browser = site.browser()
        site.go(browser, "2")
        assert browser.get("/").json()["x-df-user"] == "olga@example.org"
    assert list_users(site.accounts) == [{"name": "olga@example.org", "role": "operator", "org": "acme"}]


@pytest.mark.parametrize("sub", ["6", "7"])
def test_an_address_that_is_not_verified_is_nobodys_name(site: Site, sub: str) -> None:
    browser = site.browser()
    site.go(browser, sub)
    assert browser.get("/").json()["x-df-user"] != "boss@example.org"


@pytest.mark.parametrize(("sub", "status"), [("2", 303), ("6", 403)])
def test_an_address_grants_something_only_if_it_is_verified(
    accounts: Engine, clock: Clock, tmp_path: Path, known: Provider, sub: str, status: int
) -> None:
    grants = {f"{name}@example.org": "acme:admin" for name in ("olga", "boss")}
    site = Site(accounts, clock, tmp_path, known, oidc_claim="email", oidc_grants=grants)
    assert site.go(site.browser(), sub).status_code == status


def test_the_request_that_leaves_is_bound_to_this_browser(site: Site) -> None:
    there = site.browser().get(SINGLE_SIGN_ON)
    asked = parse_qs(urlsplit(there.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["state"][0]) >= 20
    assert len(asked["nonce"][0]) >= 16
    cookie = there.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert f"path={SINGLE_SIGN_ON}" in cookie
    assert "secure" not in cookie


def test_what_another_browser_began_is_refused(site: Site) -> None:
    there = site.browser().get(SINGLE_SIGN_ON)
    other = site.browser()
    other.get(SINGLE_SIGN_ON)
    for browser in (site.browser(), other):
        answer = browser.get(agree(there.headers["location"], "1"))
        assert answer.status_code == 401
        assert "was not completed" in answer.text
        assert browser.get("/").status_code == 401


def test_an_answer_is_good_once(site: Site) -> None:
    browser = site.browser()
    back = agree(browser.get(SINGLE_SIGN_ON).headers["location"], "1")
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 401


def test_who_is_granted_nothing_stays_outside(site: Site) -> None:
    browser = site.browser()
    answer = site.go(browser, "3")
    assert answer.status_code == 403
    assert "you have no access to this dashboard" in answer.text
    assert browser.get("/").status_code == 401
    assert list_users(site.accounts) == []


def test_a_name_takes_over_nobody(site: Site) -> None:
    add_user(site.accounts, "ada", "correct horse battery", UserRole.ADMIN, "acme")
    site.go(site.browser(), "1")
    answer = site.go(site.browser(), "4")
    assert answer.status_code == 403
    assert "Another user has your name" in answer.text
    assert {row["name"] for row in list_users(site.accounts)} == {"ada", "ada@127.0.0.1"}
    assert verify(site.accounts, "ada@127.0.0.1", "") is None


def test_a_hostile_name_and_roles_within_a_claim(
    accounts: Engine, clock: Clock, tmp_path: Path, known: Provider
) -> None:
    site = Site(accounts, clock, tmp_path, known, oidc_claim="realm_access.roles")
    browser = site.browser()
    assert site.go(browser, "5").status_code == 303
    who = browser.get("/").json()
    assert who["x-df-user"] == "b-x-df-role-admin@127.0.0.1"
    assert who["x-df-role"] == "operator"


def test_another_grant_ends_older_sessions_and_none_does_too(
    accounts: Engine, clock: Clock, tmp_path: Path, known: Provider
) -> None:
    site = Site(accounts, clock, tmp_path, known)
    old = site.browser()
    site.go(old, "1")
    less = Site(accounts, clock, tmp_path, known, oidc_grants={"staff": "acme:viewer"})
    new = less.browser()
    less.go(new, "1")
    assert old.get("/").status_code == 401
    assert new.get("/").json()["x-df-role"] == "viewer"
    nothing = Site(accounts, clock, tmp_path, known, oidc_grants={"guests": "acme:viewer"})
    assert nothing.go(nothing.browser(), "1").status_code == 403
    with accounts.connect() as connection:
        assert connection.execute(select(session)).all() == []


def test_a_refusal_at_the_provider_says_so(site: Site) -> None:
    browser = site.browser()
    there = browser.get(f"{SINGLE_SIGN_ON}?next=/machine").headers["location"]
    denied = httpx2.post(there, data={"action": "deny"}).headers["location"]
    assert "error=access_denied" in denied
    state = parse_qs(urlsplit(there).query)["state"][0]
    answer = browser.get(f"{SINGLE_SIGN_ON_BACK}?error=access_denied&error_description=<script>&state={state}")
    assert answer.status_code == 401
    assert "<script" not in answer.text
    assert 'name="next" value="/machine"' in answer.text


def test_a_wrong_secret_lets_nobody_in(accounts: Engine, clock: Clock, tmp_path: Path, known: Provider) -> None:
    site = Site(accounts, clock, tmp_path, Provider(known.issuer, known.client_id, "not this one"))
    assert site.go(site.browser(), "1").status_code == 401


def test_a_provider_that_is_away_leaves_the_passwords(
    accounts: Engine, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(accounts, clock, tmp_path, Provider(f"http://127.0.0.1:{free_port()}", "us", "a-secret-of-ours"))
    add_user(accounts, "ada", "correct horse battery", UserRole.VIEWER, "acme")
    browser = site.browser()
    answer = browser.get(SINGLE_SIGN_ON)
    assert answer.status_code == 502
    assert "127.0.0.1 does not answer" in answer.text
    assert "a-secret-of-ours" not in caplog.text + answer.text
    form = {"name": "ada", "password": "correct horse battery", "next": "/"}
    assert browser.post("/sign-in", data=form, headers={"origin": HERE}).status_code == 303


def test_a_provider_of_another_name_is_not_ours(
    accounts: Engine, clock: Clock, tmp_path: Path, known: Provider
) -> None:
    site = Site(accounts, clock, tmp_path, known, oidc_issuer=known.issuer.replace("127.0.0.1", "localhost") + "/realm")
    assert site.browser().get(SINGLE_SIGN_ON).status_code == 502


@pytest.mark.parametrize("address", ["http://login.example.org", "login.example.org", "ftp://127.0.0.1"])
def test_an_address_that_is_not_encrypted_is_refused(address: str, tmp_path: Path) -> None:
    urls = {"database": "sqlite://", "auth_database": "sqlite://"}
    with pytest.raises(ValueError, match="must look like https"):
        DashboardSettings.model_validate({"data": tmp_path, "oidc_issuer": address, **urls})


def test_a_provider_without_grants_is_refused_at_the_start(
    accounts: Engine, clock: Clock, tmp_path: Path, known: Provider
) -> None:
    with pytest.raises(SettingsError, match="oidc_grants"):
        Site(accounts, clock, tmp_path, known, oidc_grants={})


def test_the_most_of_the_first_organisation_counts() -> None:
    assert granted(["guests", "staff"], GRANTS) == Grant("acme", UserRole.OPERATOR)
    assert granted(["staff", "fleet-admins"], GRANTS) == Grant("acme", UserRole.ADMIN)
    assert granted(["guests"], GRANTS) == Grant("other", UserRole.VIEWER)
    assert granted([], GRANTS) is None


def test_everybody_has_a_name_that_no_person_of_ours_can_have() -> None:
    for claims in ({"sub": "x"}, {"sub": "x", "email": "@@"}, {"sub": "x", "preferred_username": "\u0130" * 200}):
        name = name_of(claims, "login.example.org")
        assert name.endswith("@login.example.org")
        assert len(name) <= 64
