"""The authentication middleware and the sign-in together, in front of a stand-in for Streamlit."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import httpx2
import pytest
from clocks import Clock
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.auth import forms, middleware
from dashboard.auth import sign_in as sign_in_module
from dashboard.auth.hashing_pool import QUEUED_MAX, RUNNING_MAX
from dashboard.auth.known_browsers import BROWSERS_MAX, KnownBrowsers
from dashboard.auth.middleware import AuthMiddleware, is_same_origin
from dashboard.auth.sign_in import SignIn, prefetched, safe_next
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import UserRole, add_user, set_password, verify

pytestmark = pytest.mark.usefixtures("quick_hashing")
HERE = "http://testserver"
PASSWORD = "correct horse battery"
PAGE = {"accept": "text/html"}


async def identity(request: Request) -> JSONResponse:
    return JSONResponse({name: value for name, value in request.headers.items() if name.startswith("x-df-")})


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.headers.get("x-df-org"))
    await websocket.receive_text()


@pytest.fixture
def sessions(accounts: Engine, clock: Clock) -> SignInSessions:
    return SignInSessions(accounts, clock, idle_seconds=3600, max_seconds=7200)


@pytest.fixture
def client(accounts: Engine, sessions: SignInSessions, clock: Clock) -> Iterator[TestClient]:
    add_user(accounts, "ada", PASSWORD, UserRole.VIEWER, "acme")
    sign_in = SignIn(accounts, sessions, clock, port=8501)
    inside = [WebSocketRoute("/_stcore/stream", talk), Route("/{path:path}", identity)]
    app = Starlette(
        routes=[*sign_in.routes(), *inside],
        middleware=[Middleware(AuthMiddleware, sessions=sessions, cookie=sign_in.token)],
    )
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        yield client


def sign_in(client: TestClient, password: str = PASSWORD, wanted: str = "/", **headers: str) -> httpx2.Response:
    form = {"name": "ada", "password": password, "next": wanted}
    return client.post("/sign-in", data=form, headers={"origin": HERE, **headers})


def test_without_a_session_a_page_leads_to_the_sign_in_and_back(client: TestClient) -> None:
    answer = client.get("/machine?id=web-1&range=6h", headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/machine%3Fid%3Dweb-1%26range%3D6h"
    form = client.get(answer.headers["location"])
    assert 'name="next" value="/machine?id=web-1&amp;range=6h"' in form.text
    assert sign_in(client, wanted="/machine?id=web-1&range=6h").headers["location"] == "/machine?id=web-1&range=6h"


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/health", "/whoami", "/media/x", "/static/../secret"])
def test_without_a_session_nothing_else_answers(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 401


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["upload_file/session/file", "metrics", "script-health-check", "agent/interact"])
def test_streamlits_endpoints_that_no_page_uses_do_not_exist(client: TestClient, method: str, path: str) -> None:
    sign_in(client)
    assert client.request(method, f"/_stcore/{path}", headers={"origin": HERE}).status_code == 404
    assert client.get("/_stcore/host-config").status_code == 200


def test_streamlits_public_files_and_readiness_need_no_session(client: TestClient) -> None:
    assert client.get("/static/js/index.js").status_code == 200
    assert client.get("/readyz").text == "ready\n"


def test_a_session_says_who_somebody_is_and_a_request_cannot(client: TestClient) -> None:
    sign_in(client)
    answer = client.get("/", headers={"X-Df-Role": "admin", "x-df-org": "other", "x-df-extra": "1"}).json()
    assert {name: answer[name] for name in ("x-df-user", "x-df-org", "x-df-role")} == {
        "x-df-user": "ada",
        "x-df-org": "acme",
        "x-df-role": "viewer",
    }
    assert "x-df-extra" not in answer
    assert client.cookies["dashfleet-8501"] not in answer["x-df-session"]


def test_forged_headers_on_public_paths_are_thrown_away(client: TestClient) -> None:
    assert client.get("/static/x", headers={"x-df-user": "root"}).json() == {}


def test_the_cookie_is_closed_to_scripts_and_other_sites(client: TestClient) -> None:
    for cookie in map(str.lower, sign_in(client).headers.get_list("set-cookie")):
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "secure" not in cookie


def test_under_tls_the_cookie_is_secure_and_bound_to_the_host(client: TestClient) -> None:
    client.base_url = "https://testserver"
    cookies = sign_in(client, origin="https://testserver").headers.get_list("set-cookie")
    assert sorted(cookie.partition("=")[0] for cookie in cookies) == [
        "__Host-dashfleet-8501",
        "__Host-dashfleet-8501-known",
    ]
    assert all("secure" in cookie.lower() for cookie in cookies)


def test_wrong_passwords_are_refused_then_slowed_down(client: TestClient, clock: Clock) -> None:
    assert [sign_in(client, "wrong").status_code for _ in range(6)] == [401] * 5 + [429]
    slowed = sign_in(client)
    assert slowed.status_code == 429
    assert slowed.headers["retry-after"] == "1"
    clock.advance(2)
    assert sign_in(client).status_code == 303


def test_a_browser_that_signed_in_before_is_not_locked_out_by_others_and_still_throttled(client: TestClient) -> None:
    sign_in(client)
    known = client.cookies["dashfleet-8501-known"]
    client.cookies.clear()
    assert [sign_in(client, "wrong").status_code for _ in range(7)][-1] == 429
    client.cookies.set("dashfleet-8501-known", known)
    assert sign_in(client).status_code == 303
    assert client.cookies.get("dashfleet-8501-known", domain="testserver.local") != known
    assert [sign_in(client, "wrong").status_code for _ in range(7)] == [401] * 5 + [429] * 2


def test_a_known_browser_is_known_for_its_user_until_the_password_changes(
    client: TestClient, accounts: Engine, clock: Clock
) -> None:
    sign_in(client)
    add_user(accounts, "bob", PASSWORD, UserRole.VIEWER, "acme")
    browsers = KnownBrowsers(accounts, clock)
    token = client.cookies["dashfleet-8501-known"]
    assert browsers.find(token, "ada")
    assert not browsers.find(token, "bob")
    assert not browsers.find("invented", "ada")
    set_password(accounts, "ada", PASSWORD + "2")
    assert not browsers.find(token, "ada")


@pytest.mark.usefixtures("client")
def test_a_user_has_a_bounded_number_of_known_browsers(accounts: Engine, clock: Clock) -> None:
    ada = verify(accounts, "ada", PASSWORD)
    assert ada is not None
    browsers = KnownBrowsers(accounts, clock)
    tokens = []
    for _ in range(BROWSERS_MAX + 1):
        clock.advance(1)
        tokens.append(browsers.remember(ada, ""))
    assert [bool(browsers.find(token, "ada")) for token in tokens] == [False] + [True] * BROWSERS_MAX


@contextmanager
def full_disk(engine: Engine) -> Iterator[None]:
    """Fail every statement that writes, as SQLite does on a full disk."""

    def fail(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            raise OperationalError(statement, None, sqlite3.OperationalError("database or disk is full"))

    event.listen(engine, "before_cursor_execute", fail)
    yield
    event.remove(engine, "before_cursor_execute", fail)


def test_on_a_full_disk_reading_goes_on_and_signing_in_and_out_is_answered_with_a_sentence(
    client: TestClient, accounts: Engine, clock: Clock
) -> None:
    sign_in(client)
    clock.advance(60)
    with full_disk(accounts):
        assert client.get("/").json()["x-df-user"] == "ada"
        for answer in (sign_in(client), client.post("/sign-out", headers={"origin": HERE})):
            assert answer.status_code == 503
            assert "its disk may be full" in answer.text
            assert int(answer.headers["retry-after"]) > 0
    assert sign_in(client).status_code == 303


def test_a_flood_of_sign_ins_leaves_the_threads_to_others_and_is_refused_beyond_the_queue(
    accounts: Engine, sessions: SignInSessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_user(accounts, "ada", PASSWORD, UserRole.VIEWER, "acme")
    free = threading.Event()
    monkeypatch.setattr(sign_in_module, "verify", lambda *_given: free.wait(20) and None)
    site = SignIn(accounts, sessions, clock, port=8501)

    async def flood() -> list[int]:
        transport = httpx2.ASGITransport(Starlette(routes=site.routes()))
        async with httpx2.AsyncClient(transport=transport, base_url=HERE) as browser:
            form = {"name": "ada", "password": "wrong"}
            asked = [
                asyncio.create_task(browser.post("/sign-in", data={**form, "name": f"u{i}"}, headers={"origin": HERE}))
                for i in range(60)
            ]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert (await asyncio.wait_for(browser.get("/sign-in"), 5)).status_code == 200
            free.set()
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

    answers = asyncio.run(flood())
    assert answers.count(503) == 60 - RUNNING_MAX - QUEUED_MAX
    assert set(answers) == {401, 429, 503}


def test_what_somebody_typed_comes_back_escaped_and_without_the_password(client: TestClient) -> None:
    form = {"name": '"><script>alert(1)</script>', "password": "hunter2hunter2", "next": "/"}
    answer = client.post("/sign-in", data=form, headers={"origin": HERE})
    assert answer.status_code == 401
    assert "<script" not in answer.text
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
def test_a_form_from_another_site_signs_nobody_in_or_out(client: TestClient, headers: dict[str, str]) -> None:
    assert sign_in(client, **headers).status_code == 403
    sign_in(client)
    assert client.post("/sign-out", headers={"origin": HERE, **headers}).status_code == 403
    assert client.get("/whoami").status_code == 200


def test_a_form_that_is_too_big_is_refused(client: TestClient) -> None:
    assert sign_in(client, "x" * 10_000).status_code == 413


@pytest.mark.parametrize("broken_off", [True, False])
def test_a_form_that_is_broken_off_or_does_not_end_is_no_error(
    accounts: Engine, sessions: SignInSessions, clock: Clock, monkeypatch: pytest.MonkeyPatch, broken_off: bool
) -> None:
    monkeypatch.setattr(forms, "_BODY_SECONDS", 0.05)
    messages: list[Message] = [{"type": "http.request", "body": b"name=", "more_body": True}]
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop()
        if not broken_off:
            await asyncio.sleep(30)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"testserver"), (b"origin", HERE.encode())]
    scope = {"type": "http", "method": "POST", "path": "/sign-in", "query_string": b"", "headers": headers}
    asyncio.run(Starlette(routes=SignIn(accounts, sessions, clock, port=1).routes())(scope, receive, send))
    assert sent[0]["status"] == 408


def test_signing_out_ends_the_session_even_for_a_kept_cookie(client: TestClient) -> None:
    sign_in(client)
    kept = client.cookies["dashfleet-8501"]
    assert client.get("/whoami").json() == {"user": "ada", "org": "acme"}
    assert client.post("/sign-out", headers={"origin": HERE}).headers["location"] == "/sign-in"
    client.cookies.set("dashfleet-8501", kept)
    assert client.get("/whoami").status_code == 401


def test_signing_in_again_replaces_the_session(client: TestClient) -> None:
    sign_in(client)
    before = client.cookies["dashfleet-8501"]
    sign_in(client)
    assert client.cookies["dashfleet-8501"] != before
    client.cookies.clear()
    client.cookies.set("dashfleet-8501", before)
    assert client.get("/whoami").status_code == 401


def test_the_watcher_does_not_keep_a_session_alive_but_a_person_does(client: TestClient, clock: Clock) -> None:
    sign_in(client)
    clock.advance(3000)
    assert client.get("/whoami?active").status_code == 200
    clock.advance(3000)
    assert client.get("/whoami").status_code == 200
    clock.advance(1000)
    assert client.get("/whoami").status_code == 401


def test_a_websocket_needs_a_session_and_our_origin(client: TestClient) -> None:
    for headers in ({"origin": HERE}, {"origin": "http://evil.example"}, {}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream", headers=headers):
            pytest.fail("a WebSocket without a session was accepted")
    sign_in(client)
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream", headers=headers):
            pytest.fail("a WebSocket from elsewhere was accepted")
    with client.websocket_connect("/_stcore/stream", headers={"origin": HERE}) as websocket:
        assert websocket.receive_json() == "acme"
        websocket.send_text("bye")


def test_an_open_websocket_is_cut_when_its_session_ends(
    client: TestClient, sessions: SignInSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_RECHECK_SECONDS", 0.01)
    sign_in(client)
    with client.websocket_connect("/_stcore/stream", headers={"origin": HERE}) as websocket:
        websocket.receive_json()
        sessions.end(client.cookies["dashfleet-8501"])
        with pytest.raises(WebSocketDisconnect) as cut:
            websocket.receive_json()
    assert cut.value.code == 1008


async def stumbles(scope: Scope, receive: Receive, send: Send) -> None:
    """Behave like Streamlit: ignore a failed send, and receive again."""
    websocket = WebSocket(scope, receive, send)
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        await websocket.send_text("a refresh")
    await websocket.receive_text()


@pytest.mark.parametrize("gone", [True, False])
def test_only_when_the_browser_has_gone_is_it_no_error_that_streamlit_stumbles(
    client: TestClient, sessions: SignInSessions, gone: bool
) -> None:
    sign_in(client)
    token = client.cookies["dashfleet-8501"]

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send" and gone:
            raise ConnectionResetError

    headers = [(b"host", b"testserver"), (b"origin", HERE.encode())]
    scope = {"type": "websocket", "path": "/_stcore/stream", "query_string": b"", "headers": headers}
    serving = AuthMiddleware(stumbles, sessions=sessions, cookie=lambda _connection: token)(scope, receive, send)
    with nullcontext() if gone else pytest.raises(RuntimeError, match="receive"):
        asyncio.run(serving)


def test_every_answer_carries_the_security_headers(client: TestClient) -> None:
    for answer in (client.get("/readyz"), client.get("/", headers=PAGE), client.get("/sign-in")):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "script-src 'none'" in client.get("/sign-in").headers["content-security-policy"]


def test_whoever_is_signed_in_does_not_see_the_form_again(client: TestClient) -> None:
    sign_in(client)
    assert client.get("/sign-in?next=/machine").headers["location"] == "/machine"


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "evil",
        "/a b",
        "/a\r\nb",
        "/sign-in",
        "/sign-out",
    ],
)
def test_nobody_is_sent_elsewhere(wanted: str) -> None:
    assert safe_next(wanted) == "/"


def test_a_path_of_ours_is_kept() -> None:
    assert safe_next("/machine?id=web-1") == "/machine?id=web-1"


def test_the_sign_in_prefetches_files_that_streamlit_has() -> None:
    names = [path.rsplit("/", 1)[-1] for path in prefetched()]
    assert len(names) > 20
    assert any(name.startswith("index.") for name in names)
    for lazy in ("EChartsChart", "BidiComponent"):
        assert any(name.startswith(lazy) for name in names), lazy


def test_origins_are_compared_with_their_port() -> None:
    from starlette.datastructures import Headers

    assert is_same_origin(Headers({"host": "localhost:8501", "origin": "http://localhost:8501"}))
    assert not is_same_origin(Headers({"host": "localhost:8501", "origin": "http://localhost:9999"}))


@pytest.mark.parametrize("origin", ["http://[", "http://]", "//[::1", "null", "http://[::1]x:1"])
def test_an_origin_that_is_none_is_another_site_and_no_error(client: TestClient, origin: str) -> None:
    for path in ("/sign-in", "/sign-out"):
        assert client.post(path, headers={"origin": origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream", headers={"origin": origin}):
        pass
