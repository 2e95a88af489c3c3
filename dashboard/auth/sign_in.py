"""The pages outside Streamlit: sign-in, sign-out, identity and readiness.

Invariants:
- The sign-in page works without scripts and requests nothing from other hosts.
- After the sign-in, the browser is never sent to another site, whatever `next` contains.
- The page's language: the one in its address, else the one chosen in this browser, else the browser's.
- A full disk costs a sign-in or a sign-out, which is answered with a sentence; signed-in users go on reading.
- A wrong name, a wrong password and a lockout never reveal whether the name exists.
- A user who has a second factor, or whose role requires one, gets a pending sign-in for the password, and no session.
"""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dashboard.auth.forms import Denial, language_of, receive_form, throttled
from dashboard.auth.hashing_pool import HashingBusyError, HashingPool
from dashboard.auth.known_browsers import KNOWN_SECONDS, KnownBrowsers
from dashboard.auth.login_attempts import LoginAttempts
from dashboard.auth.middleware import (
    READY,
    SECOND_STEP,
    SETUP,
    SIGN_IN,
    SIGN_OUT,
    SINGLE_SIGN_ON,
    WHO_AM_I,
    is_same_origin,
)
from dashboard.auth.second_factor import PENDING_SECONDS, SecondFactors
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import User, set_password, verify
from dashboard.i18n import language
from dashboard.i18n.language import _, speaking
from dashboard.widgets.asset_files import template
from runtime.clock import Clock
from runtime.rate_limited_log import RateLimitedLog

_log = RateLimitedLog(logging.getLogger(__name__))
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
_KNOWN, _PENDING = "-known", "-pending"
_LANGUAGE_SECONDS = 365 * 86_400
_IMPORT = re.compile(r'from"\./([\w.-]+\.js)"')


class SignIn:
    """The sign-in routes over one auth database. `port` separates the cookies of several dashboards on one host.

    `provider`: host of the OpenID Connect provider that the page links to, or empty.
    """

    def __init__(
        self,
        engine: Engine,
        sessions: SignInSessions,
        clock: Clock,
        *,
        port: int,
        provider: str = "",
        second_factor_roles: Collection[str] = (),
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self.attempts = LoginAttempts(engine, clock)
        self.factors = SecondFactors(engine, clock, second_factor_roles)
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
        with speaking(language_of(request)):
            return self._with_language(self._page(wanted), request)

    async def _sign_in(self, request: Request) -> Response:
        with speaking(language_of(request)):
            return await self._attempt(request)

    async def _attempt(self, request: Request) -> Response:
        form = await receive_form(request)
        if isinstance(form, Response):
            return form
        name, wanted = form.get("name", "").strip().lower(), safe_next(form.get("next", ""))
        try:
            who = await self.authenticate(request, name, form.get("password", ""))
            if isinstance(who, Denial):
                return self._page(wanted, name, who.message, who.status, who.headers)
            return await self._continue(request, who, wanted)
        except SQLAlchemyError as error:
            return self.not_stored(wanted, error, name)

    async def authenticate(self, request: Request, name: str, password: str) -> User | Denial:
        """Verify a password, throttled. Raises SQLAlchemyError if the auth database cannot be read or written."""
        try:
            with self._hashing.reserve():
                client = await self._client(request, name)
                wait = await run_in_threadpool(self.attempts.admit, *client)
                if wait:
                    return throttled(wait)
                who = await self._hashing.run(verify, self._engine, name, password)
        except HashingBusyError:
            message = _("Too many people are signing in at this moment. Try again in a few seconds.")
            return Denial(message, 503, {"retry-after": "5"})
        if who is None:
            return Denial(_("The name or the password is wrong."), 401)
        await run_in_threadpool(self.attempts.succeeded, *client)
        return who

    async def change_password(self, name: str, password: str) -> None:
        """Replace the password of a user, who has given the old one, and end their sessions."""
        await self._hashing.run(set_password, self._engine, name, password, by=name)

    async def _client(self, request: Request, name: str) -> tuple[str, str, str]:
        """Return what attempts are counted by: name, address, and the browser if it is a known one of the name."""
        address = request.client.host if request.client else ""
        return name, address, await run_in_threadpool(self._browsers.find, self._known(request), name)

    async def _continue(self, request: Request, who: User, wanted: str) -> Response:
        """Start the session after the password, or a pending sign-in if a second factor is needed."""
        held = await run_in_threadpool(self.factors.held, who)
        if not held and not self.factors.is_required(who.role):
            return await self.complete(request, who, wanted)
        step = SECOND_STEP if held else SETUP
        response = RedirectResponse(f"{step}?{urlencode({'next': wanted})}" if wanted != "/" else step, 303)
        token = await run_in_threadpool(self.factors.begin, who)
        return self._with_cookie(response, request, token, suffix=_PENDING, max_age=PENDING_SECONDS)

    def pending_token(self, request: Request) -> str:
        """Return the token of the pending sign-in of this browser, or an empty string."""
        return request.cookies.get(self._cookie_name(request, _PENDING), "")

    def _known(self, request: Request) -> str:
        return request.cookies.get(self._cookie_name(request, _KNOWN), "")

    async def complete(self, request: Request, who: User, wanted: str) -> Response:
        """Start the session of a user who has given all that is asked for, and make the browser a known one."""
        return await self.complete_with(request, who, RedirectResponse(wanted, 303))

    async def complete_with(self, request: Request, who: User, response: Response) -> Response:
        """Start the session as `complete` does, with this response."""
        known = await run_in_threadpool(self._browsers.remember, who, self._known(request))
        response = await self._start(request, who, response)
        if self.pending_token(request):
            response.delete_cookie(
                self._cookie_name(request, _PENDING), secure=_is_encrypted(request), httponly=True, samesite="lax"
            )
        return self._with_cookie(response, request, known, suffix=_KNOWN, max_age=KNOWN_SECONDS)

    async def start_session(self, request: Request, who: User, wanted: str) -> Response:
        """Start the session of an authenticated user, in place of the session of this browser, and redirect."""
        return await self._start(request, who, RedirectResponse(wanted, 303))

    async def _start(self, request: Request, who: User, response: Response) -> Response:
        address = request.client.host if request.client else ""
        await run_in_threadpool(self._sessions.end, self.token(request))
        browser = request.headers.get("user-agent", "")
        token = await run_in_threadpool(self._sessions.start, who, address=address, browser=browser)
        return self._with_cookie(response, request, token)

    def rejected(self, request: Request, wanted: str, message: str, status: int) -> Response:
        """Return the sign-in page with the reason of a failed sign-in."""
        with speaking(language_of(request)):
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
            font=font(),
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
            with speaking(language_of(request)):
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


def font() -> str:
    """Return the address of the font of the pages."""
    return next((path for path in prefetched() if path.endswith(".woff2")), "")


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


def _address(wanted: str, code: str) -> str:
    """The sign-in page in another language."""
    return f"{SIGN_IN}?{urlencode({language.PARAMETER: code, **({'next': wanted} if wanted != '/' else {})})}"


def _is_encrypted(connection: HTTPConnection) -> bool:
    return connection.url.scheme in ("https", "wss")


async def _who_am_i(request: Request) -> Response:
    who = {"user": request.headers["x-df-user"], "org": request.headers["x-df-org"]}
    return JSONResponse(who, headers={"cache-control": "no-store"})


async def _ready(_: Request) -> Response:
    return PlainTextResponse("ready\n", headers={"cache-control": "no-store"})
