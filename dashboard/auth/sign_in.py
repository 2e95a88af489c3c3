"""The pages outside Streamlit: sign-in, sign-out, identity and readiness.

Invariants:
- The sign-in page works without scripts and requests nothing from other hosts.
- After the sign-in, the browser is never sent to another site, whatever `next` contains.
- The page's language: the one in its address, else the one chosen in this browser, else the browser's.
- A full disk costs a sign-in or a sign-out, which is answered with a sentence; signed-in users go on reading.
- A wrong name, a wrong password and a lockout never reveal whether the name exists.
"""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dashboard.auth.hashing_pool import HashingBusyError, HashingPool
from dashboard.auth.known_browsers import KNOWN_SECONDS, KnownBrowsers
from dashboard.auth.login_attempts import LoginAttempts
from dashboard.auth.middleware import READY, SIGN_IN, SIGN_OUT, SINGLE_SIGN_ON, WHO_AM_I, is_same_origin
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import User, verify
from dashboard.i18n import language
from dashboard.i18n.language import _, ngettext, speaking
from dashboard.widgets.asset_files import template
from runtime.clock import Clock
from runtime.rate_limited_log import RateLimitedLog

_log = RateLimitedLog(logging.getLogger(__name__))
_BODY_MAX_BYTES = 8192
_BODY_SECONDS = 10.0
_POLICY = (
    "default-src 'self'; script-src 'none'; style-src 'unsafe-inline'; img-src data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_LAZY_SCRIPTS = (
    "BidiComponent",
    "ButtonGroup",
    "EChartsChart",
    "Html.",
    "PageLink",
    "Pagination",
    "TextInput",
    "purify",
)
_KNOWN = "-known"
_LANGUAGE_SECONDS = 365 * 86_400
_IMPORT = re.compile(r'from"\./([\w.-]+\.js)"')


class SignIn:
    """The sign-in routes over one auth database. `port` separates the cookies of several dashboards on one host.

    `provider`: host of the OpenID Connect provider that the page links to, or empty.
    """

    def __init__(
        self, engine: Engine, sessions: SignInSessions, clock: Clock, *, port: int, provider: str = ""
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._attempts = LoginAttempts(engine, clock)
        self._hashing = HashingPool()
        self._browsers = KnownBrowsers(engine, clock)
        self._port = port
        self._provider = provider

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes to mount in front of Streamlit."""
        return [
            Route(SIGN_IN, self._form, methods=["GET"]),
            Route(SIGN_IN, self._sign_in, methods=["POST"]),
            Route(SIGN_OUT, self._sign_out, methods=["POST"]),
            Route(WHO_AM_I, _who_am_i, methods=["GET"]),
            Route(READY, _ready, methods=["GET"]),
        ]

    def token(self, connection: HTTPConnection) -> str:
        """Return the session token in the cookie of a request, or an empty string."""
        return connection.cookies.get(self._cookie_name(connection), "")

    def _cookie_name(self, connection: HTTPConnection, suffix: str = "") -> str:
        prefix = "__Host-" if _is_encrypted(connection) else ""
        return f"{prefix}dashfleet-{self._port}{suffix}"

    async def _form(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", ""))
        if await run_in_threadpool(self._sessions.find, self.token(request)):
            return RedirectResponse(wanted, 303)
        with speaking(_language(request)):
            return self._with_language(self._page(wanted), request)

    async def _sign_in(self, request: Request) -> Response:
        with speaking(_language(request)):
            return await self._attempt(request)

    async def _attempt(self, request: Request) -> Response:
        if not is_same_origin(request.headers):
            return PlainTextResponse("this form was not sent from the sign-in page\n", 403)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                form = await _read_form(request)
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("the form did not arrive\n", 408, headers={"connection": "close"})
        if form is None:
            return PlainTextResponse("too much for a sign-in\n", 413)
        name, wanted = form.get("name", "").strip().lower(), safe_next(form.get("next", ""))
        try:
            with self._hashing.reserve():
                return await self._check(request, name, form.get("password", ""), wanted)
        except HashingBusyError:
            message = _("Too many people are signing in at this moment. Try again in a few seconds.")
            return self._page(wanted, name, message, 503, {"retry-after": "5"})
        except SQLAlchemyError as error:
            return self.not_stored(wanted, error, name)

    async def _check(self, request: Request, name: str, password: str, wanted: str) -> Response:
        """Sign in, or answer why not. Raises SQLAlchemyError if the auth database cannot be read or written."""
        address = request.client.host if request.client else ""
        known = request.cookies.get(self._cookie_name(request, _KNOWN), "")
        client = name, address, await run_in_threadpool(self._browsers.find, known, name)
        wait = await run_in_threadpool(self._attempts.admit, *client)
        if wait:
            message = ngettext(
                "Too many attempts. Try again in {n} second.", "Too many attempts. Try again in {n} seconds.", wait
            )
            return self._page(wanted, name, message, 429, {"retry-after": str(wait)})
        who = await self._hashing.run(verify, self._engine, name, password)
        if who is None:
            return self._page(wanted, name, _("The name or the password is wrong."), 401)
        await run_in_threadpool(self._attempts.succeeded, *client)
        token = await run_in_threadpool(self._browsers.remember, who, known)
        response = await self.start_session(request, who, wanted)
        return self._with_cookie(response, request, token, suffix=_KNOWN, max_age=KNOWN_SECONDS)

    async def start_session(self, request: Request, who: User, wanted: str) -> Response:
        """Start the session of an authenticated user, in place of the session of this browser, and redirect."""
        address = request.client.host if request.client else ""
        await run_in_threadpool(self._sessions.end, self.token(request))
        browser = request.headers.get("user-agent", "")
        token = await run_in_threadpool(self._sessions.start, who, address=address, browser=browser)
        return self._with_cookie(RedirectResponse(wanted, 303), request, token)

    def rejected(self, request: Request, wanted: str, message: str, status: int) -> Response:
        """Return the sign-in page with the reason of a failed sign-in."""
        with speaking(_language(request)):
            return self._page(wanted, "", message, status)

    def not_stored(self, wanted: str, error: SQLAlchemyError, name: str = "") -> Response:
        """Return the sign-in page with the reason: the auth database cannot be written, as on a full disk."""
        _log.warning("auth-database", "cannot store a sign-in or sign-out: %s", error.__cause__ or error)
        message = _(
            "The server cannot store this now; its disk may be full. Tell its administrator, or try again later."
        )
        return self._page(wanted, name, message, 503, {"retry-after": "60"})

    def _page(
        self,
        wanted: str,
        name: str = "",
        message: str = "",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        body = template("sign-in.html").render(
            prefetch=prefetched(),
            font=next((path for path in prefetched() if path.endswith(".woff2")), ""),
            next=wanted,
            name=name[:64],
            error=message,
            language=language.current(),
            languages=[(code, language.name_of(code), _address(wanted, code)) for code in language.LANGUAGES],
            provider_address=f"{SINGLE_SIGN_ON}?{urlencode({'next': wanted})}",
            provider=self._provider and _("Sign in with {provider}", provider=self._provider),
            sign_in=_("Sign in"),
            user=_("User"),
            password=_("Password"),
            motto=_("See every machine, act on any machine."),
            choose=_("Language"),
        )
        shared = {"cache-control": "no-store", "content-security-policy": _POLICY}
        return HTMLResponse(body, status, headers={**shared, **(headers or {})})

    async def _sign_out(self, request: Request) -> Response:
        if not is_same_origin(request.headers):
            return PlainTextResponse("this was not sent from the dashboard\n", 403)
        response: Response = RedirectResponse(SIGN_IN, 303)
        try:
            await run_in_threadpool(self._sessions.end, self.token(request))
        except SQLAlchemyError as error:
            with speaking(_language(request)):
                response = self.not_stored("/", error)
        response.delete_cookie(self._cookie_name(request), secure=_is_encrypted(request), httponly=True, samesite="lax")
        return response

    def _with_language(self, response: Response, request: Request) -> Response:
        """Store the language of the address in a cookie, for the pages behind the sign-in."""
        if language.known(request.query_params.get(language.PARAMETER, "")):
            response.set_cookie(
                language.COOKIE,
                language.current(),
                max_age=_LANGUAGE_SECONDS,
                secure=_is_encrypted(request),
                samesite="lax",
            )
        return response

    def _with_cookie(
        self, response: Response, request: Request, token: str, *, suffix: str = "", max_age: int | None = None
    ) -> Response:
        response.set_cookie(
            self._cookie_name(request, suffix),
            token,
            max_age=max_age,
            path="/",
            secure=_is_encrypted(request),
            httponly=True,
            samesite="lax",
        )
        return response


def safe_next(wanted: str) -> str:
    """Return a path of this site to continue with; anything else becomes the first page."""
    inside = re.fullmatch(r"/(?![/\\])[!-~]*", wanted) and not wanted.startswith((SIGN_IN, SIGN_OUT))
    return wanted if inside else "/"


@lru_cache
def prefetched() -> tuple[str, ...]:
    """Return the files of Streamlit's page, which browsers fetch while the user types."""
    import streamlit

    static = Path(streamlit.__file__).parent / "static"
    first = re.findall(r'(?:href|src)="\./(static/[^"]+)"', (static / "index.html").read_text())
    scripts = [f"static/js/{name}" for name in _with_imports(static / "static" / "js", _LAZY_SCRIPTS)]
    icons = [f"static/media/{file.name}" for file in (static / "static" / "media").glob("MaterialSymbols-*.woff2")]
    return tuple(dict.fromkeys(f"/{path}" for path in (*first, *scripts, *icons)))


def _with_imports(directory: Path, prefixes: tuple[str, ...]) -> list[str]:
    """Return the scripts with these prefixes and, transitively, all that they import."""
    found: dict[str, None] = {}
    waiting = sorted(file.name for file in directory.iterdir() if file.name.startswith(prefixes))
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += _IMPORT.findall((directory / name).read_text())
    return list(found)


def _language(request: Request) -> str:
    named = request.query_params.get(language.PARAMETER, ""), request.cookies.get(language.COOKIE, "")
    return next(filter(None, map(language.known, named)), "") or language.accepted(
        request.headers.get("accept-language", "")
    )


def _address(wanted: str, code: str) -> str:
    """The sign-in page in another language."""
    return f"{SIGN_IN}?{urlencode({language.PARAMETER: code, **({'next': wanted} if wanted != '/' else {})})}"


async def _read_form(request: Request) -> dict[str, str] | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_MAX_BYTES:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {field: values[0] for field, values in fields.items()}


def _is_encrypted(connection: HTTPConnection) -> bool:
    return connection.url.scheme in ("https", "wss")


async def _who_am_i(request: Request) -> Response:
    who = {"user": request.headers["x-df-user"], "org": request.headers["x-df-org"]}
    return JSONResponse(who, headers={"cache-control": "no-store"})


async def _ready(_: Request) -> Response:
    return PlainTextResponse("ready\n", headers={"cache-control": "no-store"})
