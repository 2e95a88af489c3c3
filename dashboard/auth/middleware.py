"""Authentication of every request: without a session no page and no WebSocket.

Invariants:
- A request without a session gets the sign-in page, Streamlit's public files, and what machines install from, which has
  no secret and nothing about the fleet; nothing else, but for the HTTP API.
- The identity comes from the session. `X-Df-*` headers of a request are discarded.
- A WebSocket from another origin is rejected before Streamlit sees it, and an open one is closed when its session ends.
- Streamlit's own endpoints that no page uses, such as uploads and metrics, do not exist.
- Every response carries the security headers; over TLS also the one that keeps the browser on TLS.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.auth.sign_in_sessions import SignInSession, SignInSessions
from runtime.rate_limited_log import RateLimitedLog
from runtime.terminal import printable

SIGN_IN: Final = "/sign-in"
SINGLE_SIGN_ON: Final = "/sign-in/provider"
SINGLE_SIGN_ON_BACK: Final = "/sign-in/provider/back"
SECOND_STEP: Final = "/sign-in/second"
SECOND_STEP_OPTIONS: Final = "/sign-in/second/options"
SETUP: Final = "/sign-in/setup"
PASSKEY_SCRIPT: Final = "/sign-in/passkey.js"
ACCOUNT: Final = "/account"
SIGN_OUT: Final = "/sign-out"
WHO_AM_I: Final = "/whoami"
LIVE: Final = "/live"
READY: Final = "/readyz"
API: Final = "/api/v1"
API_EVENTS: Final = f"{API}/events"
MACHINE_METRICS: Final = "/metrics/machines"
BUNDLE: Final = "/bundle/"
INSTALL_SCRIPTS: Final = ("/install.sh", "/install.ps1")

BASE_PATH: Final = "dashfleet.base_path"
"""The key of the path below which the dashboard is served, in the scope of a request."""

IDENTITY_HEADERS: Final = {"X-Df-User": "name", "X-Df-Org": "org", "X-Df-Role": "role", "X-Df-Session": "session"}
"""The headers that tell Streamlit about the user, with their names in `st.user`."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""As strict as Streamlit's pages allow, and nothing from any other host."""

_SECURITY_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
}
_ENCRYPTED_HEADERS: Final = {"strict-transport-security": "max-age=31536000"}
_PUBLIC: Final = frozenset(
    {
        *(SIGN_IN, SINGLE_SIGN_ON, SINGLE_SIGN_ON_BACK, SIGN_OUT, READY, "/favicon.png"),
        *INSTALL_SCRIPTS,
        *(SECOND_STEP, SECOND_STEP_OPTIONS, SETUP, PASSKEY_SCRIPT),
        *(API, MACHINE_METRICS),
    }
)
"""Served without a session. The second step and the set-up ask for a pending sign-in themselves, the API for a
token."""
_PUBLIC_PREFIXES: Final = ("/static/", BUNDLE)
_WITH_TOKEN_PREFIX: Final = f"{API}/"
"""The HTTP API, which asks for a token itself, and never looks at the session."""

_STREAMLIT_PREFIX: Final = "/_stcore/"
_STREAMLIT_USED: Final = frozenset({"/_stcore/health", "/_stcore/host-config"})
"""Requests of Streamlit's page; its WebSocket is not a request. An upload would fill memory, also of other sessions."""

_SOCKET: Final = "/_stcore/stream"
_NO_UPGRADE: Final = (
    "a browser's WebSocket arrived as an ordinary request, so its page stays empty: the proxy in front of the "
    "dashboard must pass on the headers Upgrade and Connection"
)
_OTHER_ORIGIN: Final = (
    "a WebSocket of a page at %r was rejected, since its request has the Host header %r: the page belongs to another "
    "site, or the proxy in front of the dashboard does not pass on the Host header"
)
_RECHECK_SECONDS: Final = 2.0
_log = RateLimitedLog(logging.getLogger(__name__))


class AuthMiddleware:
    """ASGI middleware in front of the whole application. `cookie` returns the session token of a request."""

    def __init__(self, app: ASGIApp, *, sessions: SignInSessions, cookie: Callable[[HTTPConnection], str]) -> None:
        self._app = app
        self._sessions = sessions
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an authenticated request on, or answer it."""
        if scope["type"] == "http":
            await self._request(scope, receive, _hardened(send, encrypted=scope["scheme"] == "https"))
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_public(scope["path"]):
            await self._app(_identified(scope, None), receive, send)
            return
        connection = HTTPConnection(scope)
        session = await self._session(connection, used=_is_use(connection))
        if session is None:
            await _refusal(connection)(scope, receive, send)
        elif _is_closed(scope["path"]):
            if scope["path"] == _SOCKET:
                _log.warning("upgrade", _NO_UPGRADE)
            await PlainTextResponse("not found\n", 404)(scope, receive, send)
        else:
            await self._app(_identified(scope, session), receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        same = is_same_origin(connection.headers)
        if not same:
            origin, host = connection.headers.get("origin", ""), connection.headers.get("host", "")
            _log.warning("origin", _OTHER_ORIGIN, printable(origin), printable(host))
        session = await self._session(connection, used=True) if same else None
        if session is None:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        browser = _Browser(send)
        serving = asyncio.ensure_future(self._app(_identified(scope, session), receive, browser.send))
        ending = asyncio.ensure_future(self._ended(connection))
        try:
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await send({"type": "websocket.close", "code": 1008})
        finally:
            ending.cancel()
            if not serving.done():
                serving.cancel()
            try:
                await serving
            except asyncio.CancelledError:
                pass
            except RuntimeError:  # Streamlit keeps receiving after a failed send
                if not browser.gone:
                    raise

    async def _ended(self, connection: HTTPConnection) -> None:
        """Wait until the session of a connection has ended."""
        while True:
            if await self._session(connection, used=False) is None:
                return
            await asyncio.sleep(_RECHECK_SECONDS)

    async def _session(self, connection: HTTPConnection, *, used: bool) -> SignInSession | None:
        token = self._cookie(connection)
        return await run_in_threadpool(self._sessions.find, token, used=used) if token else None


class _Browser:
    """The sending side of a WebSocket. `gone`: a message could not be sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.gone = False

    async def send(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self.gone = True
            raise


def is_same_origin(headers: Headers) -> bool:
    """Return True if a POST or a WebSocket comes from a page of this dashboard."""
    try:
        place = urlsplit(headers.get("origin", "")).netloc
    except ValueError:  # such as http://[
        return False
    return place == headers.get("host") and headers.get("sec-fetch-site", "same-origin") in (
        "same-origin",
        "none",
    )


def _is_public(path: str) -> bool:
    return (
        path in _PUBLIC
        or path.startswith(_WITH_TOKEN_PREFIX)
        or (path.startswith(_PUBLIC_PREFIXES) and ".." not in path)
    )


def _is_closed(path: str) -> bool:
    return path.startswith(_STREAMLIT_PREFIX) and path not in _STREAMLIT_USED


def _is_use(connection: HTTPConnection) -> bool:
    """The watcher and live readings poll; the watcher adds `active` only after the user touched the page."""
    return connection.url.path not in (WHO_AM_I, LIVE) or "active" in connection.query_params


def _identified(scope: Scope, session: SignInSession | None) -> Scope:
    """Replace the identity headers of the request with those of its session."""
    headers = [(name, value) for name, value in scope["headers"] if not name.lower().startswith(b"x-df-")]
    if session is not None:
        who = session.user
        for header, value in zip(IDENTITY_HEADERS, (who.name, who.org, who.role.value, session.id), strict=True):
            headers.append((header.lower().encode(), value.encode()))
    return {**scope, "headers": headers}


def _refusal(connection: HTTPConnection) -> Response:
    """Redirect a page to the sign-in; answer anything else with 401."""
    if connection.scope["method"] in ("GET", "HEAD") and "text/html" in connection.headers.get("accept", ""):
        wanted = connection.url.path + (f"?{connection.url.query}" if connection.url.query else "")
        target = SIGN_IN if wanted == "/" else f"{SIGN_IN}?next={quote(wanted, safe='/')}"
        return RedirectResponse(target, 303, headers={"cache-control": "no-store"})
    return PlainTextResponse("sign in first\n", 401, headers={"cache-control": "no-store"})


def _hardened(send: Send, *, encrypted: bool) -> Send:
    added = {**_SECURITY_HEADERS, **(_ENCRYPTED_HEADERS if encrypted else {})}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in added.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
