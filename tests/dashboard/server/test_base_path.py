"""The dashboard below a path, as behind a proxy that serves other things as well."""

from collections.abc import Iterator

import pytest
from clocks import Clock
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from dashboard.auth.middleware import AuthMiddleware
from dashboard.auth.sign_in import SignIn
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import UserRole, add_user
from dashboard.server.base_path import BasePath
from runtime.settings.dashboard import DashboardSettings

pytestmark = pytest.mark.usefixtures("quick_hashing")
HERE = "http://testserver"
PASSWORD = "correct horse battery"
PAGE = {"accept": "text/html"}


async def cookies(_: Request) -> Response:
    response = PlainTextResponse("cookies")
    response.set_cookie("a", "1", path="/sign-in/provider")
    response.set_cookie("b", "2", path="/")
    return response


async def echo(request: Request) -> Response:
    return PlainTextResponse(request.url.path)


@pytest.fixture
def client(accounts: Engine, clock: Clock) -> Iterator[TestClient]:
    add_user(accounts, "ada", PASSWORD, UserRole.VIEWER, "acme")
    sessions = SignInSessions(accounts, clock, idle_seconds=3600, max_seconds=7200)
    sign_in = SignIn(accounts, sessions, clock, port=8501)
    app = Starlette(
        routes=[*sign_in.routes(), Route("/cookies", cookies), Route("/{path:path}", echo)],
        middleware=[
            Middleware(BasePath, base="/fleet"),
            Middleware(AuthMiddleware, sessions=sessions, cookie=sign_in.token),
        ],
    )
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        yield client


def sign_in(client: TestClient, wanted: str) -> str:
    form = {"name": "ada", "password": PASSWORD, "next": wanted}
    return str(client.post("/fleet/sign-in", data=form, headers={"origin": HERE}).headers["location"])


def test_a_page_redirects_to_the_sign_in_below_the_path_and_the_sign_in_back_to_it(client: TestClient) -> None:
    answer = client.get("/fleet/machine?id=a", headers=PAGE)
    assert answer.headers["location"] == "/fleet/sign-in?next=/machine%3Fid%3Da"
    assert sign_in(client, "/machine?id=a") == "/fleet/machine?id=a"
    assert client.get("/fleet/machine").text == "/machine"


def test_an_address_that_a_browser_sends_with_the_path_does_not_get_it_twice(client: TestClient) -> None:
    assert sign_in(client, "/fleet/machine?id=a") == "/fleet/machine?id=a"
    assert sign_in(client, "/fleet?q=a") == "/fleet/fleet?q=a", "a page that is called like the path"


@pytest.mark.parametrize("path", ["/fleet", "/fleet?a=b"])
def test_the_path_without_a_slash_redirects_as_relative_addresses_need_it(client: TestClient, path: str) -> None:
    assert client.get(path).headers["location"] == path.replace("/fleet", "/fleet/")


def test_the_addresses_in_the_sign_in_page_begin_with_the_path(client: TestClient) -> None:
    page = client.get("/fleet/sign-in?next=/machine").text
    assert 'action="/fleet/sign-in"' in page
    assert 'href="/fleet/static/' in page
    assert '="/static' not in page
    assert 'name="next" value="/machine"' in page


def test_a_proxy_may_remove_the_path_before(client: TestClient) -> None:
    assert client.get("/machine", headers=PAGE).headers["location"] == "/fleet/sign-in?next=/machine"
    assert client.get("/readyz").status_code == 200


def test_a_cookie_of_a_path_is_one_of_the_path_below(client: TestClient) -> None:
    sign_in(client, "/")
    first, second = client.get("/fleet/cookies").headers.get_list("set-cookie")
    assert "Path=/fleet/sign-in/provider" in first
    assert "Path=/;" in f"{second};"


def test_the_answer_to_head_has_the_length_of_the_page(client: TestClient) -> None:
    assert client.head("/fleet/sign-in").status_code in (200, 405)


@pytest.mark.parametrize("path", ["fleet", "/", "/fleet/", "/a b", "/a//b", '/"', "/<b>"])
def test_a_base_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="base_path"):
        DashboardSettings.model_validate({"database": "sqlite://", "auth_database": "sqlite://", "base_path": path})
