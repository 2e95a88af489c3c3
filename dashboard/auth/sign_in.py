"""The pages outside Streamlit: sign in, sign out, who am I, are you ready.

Invariants:
- The sign-in page works without a script and asks no other host for anything.
- After signing in, nobody is sent to another site, whatever `next` says.
- It speaks the language that its address names, else the one that was chosen in this browser, else the browser's.
- A wrong name, a wrong password and too many attempts never tell whether the name exists.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import parse_qs, urlencode

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from dashboard.auth.accounts import Person, verify
from dashboard.auth.middleware import READY, SIGN_IN, SIGN_OUT, SINGLE_SIGN_ON, WHO_AM_I, is_same_origin
from dashboard.auth.sessions import Attempts, Sessions
from dashboard.i18n import language
from dashboard.i18n.language import _, ngettext, speaking
from dashboard.widgets.asset_files import ASSETS

_BODY_MAX_BYTES = 8192
_PAGE = ASSETS / "sign-in.html"
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
_LANGUAGE_SECONDS = 365 * 86_400
_IMPORT = re.compile(r'from"\./([\w.-]+\.js)"')


class SignIn:
    """The sign-in routes over one auth database. `port` keeps the cookies of two dashboards on one host apart.

    `provider` is the host of the OpenID Connect provider that one may sign in with instead; empty: there is none.
    """

    def __init__(
        self, engine: Engine, sessions: Sessions, attempts: Attempts, *, port: int, provider: str = ""
    ) -> None:
        self._engine = engine
        self._sessions = sessions
        self._attempts = attempts
        self._port = port
        self._provider = provider

    def routes(self) -> Sequence[BaseRoute]:
        """What to mount in front of Streamlit."""
        return [
            Route(SIGN_IN, self._form, methods=["GET"]),
            Route(SIGN_IN, self._sign_in, methods=["POST"]),
            Route(SIGN_OUT, self._sign_out, methods=["POST"]),
            Route(WHO_AM_I, _who_am_i, methods=["GET"]),
            Route(READY, _ready, methods=["GET"]),
        ]

    def token(self, connection: HTTPConnection) -> str:
        """The session token that a request carries, or an empty string."""
        return connection.cookies.get(self._cookie_name(connection), "")

    def _cookie_name(self, connection: HTTPConnection) -> str:
        prefix = "__Host-" if _is_encrypted(connection) else ""
        return f"{prefix}dashfleet-{self._port}"

    async def _form(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", ""))
        if await run_in_threadpool(self._sessions.find, self.token(request)):
            return RedirectResponse(wanted, 303)
        with speaking(_language(request)):
            return self._remembering(self._page(wanted), request)

    async def _sign_in(self, request: Request) -> Response:
        with speaking(_language(request)):
            return await self._attempt(request)

    async def _attempt(self, request: Request) -> Response:
        if not is_same_origin(request.headers):
            return PlainTextResponse("this form was not sent from the sign-in page\n", 403)
        form = await _read_form(request)
        if form is None:
            return PlainTextResponse("too much for a sign-in\n", 413)
        name, wanted = form.get("name", "").strip().lower(), safe_next(form.get("next", ""))
        address = request.client.host if request.client else ""
        wait = await run_in_threadpool(self._attempts.admit, name, address)
        if wait:
            message = ngettext(
                "Too many attempts. Try again in {n} second.", "Too many attempts. Try again in {n} seconds.", wait
            )
            return self._page(wanted, name, message, 429, {"retry-after": str(wait)})
        person = await run_in_threadpool(verify, self._engine, name, form.get("password", ""))
        if person is None:
            return self._page(wanted, name, _("The name or the password is wrong."), 401)
        await run_in_threadpool(self._attempts.succeeded, name, address)
        return await self.let_in(request, person, wanted)

    async def let_in(self, request: Request, person: Person, wanted: str) -> Response:
        """Begin the session of somebody who proved who they are, instead of the one that their browser had."""
        address = request.client.host if request.client else ""
        await run_in_threadpool(self._sessions.end, self.token(request))
        browser = request.headers.get("user-agent", "")
        token = await run_in_threadpool(self._sessions.start, person, address=address, browser=browser)
        return self._with_cookie(RedirectResponse(wanted, 303), request, token)

    def refused(self, request: Request, wanted: str, message: str, status: int) -> Response:
        """The sign-in page with why somebody was not let in."""
        with speaking(_language(request)):
            return self._page(wanted, "", message, status)

    def _page(
        self, wanted: str, name: str = "", message: str = "", status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        return _page(wanted, name, message, status, headers, self._provider)

    async def _sign_out(self, request: Request) -> Response:
        if not is_same_origin(request.headers):
            return PlainTextResponse("this was not sent from the dashboard\n", 403)
        await run_in_threadpool(self._sessions.end, self.token(request))
        response = RedirectResponse(SIGN_IN, 303)
        response.delete_cookie(self._cookie_name(request), secure=_is_encrypted(request), httponly=True, samesite="lax")
        return response

    def _remembering(self, response: Response, request: Request) -> Response:
        """Keep the language that the address names, for the pages behind the sign-in."""
        if language.known(request.query_params.get(language.PARAMETER, "")):
            response.set_cookie(
                language.COOKIE,
                language.current(),
                max_age=_LANGUAGE_SECONDS,
                secure=_is_encrypted(request),
                samesite="lax",
            )
        return response

    def _with_cookie(self, response: Response, request: Request, token: str) -> Response:
        response.set_cookie(
            self._cookie_name(request), token, path="/", secure=_is_encrypted(request), httponly=True, samesite="lax"
        )
        return response


def safe_next(wanted: str) -> str:
    """A path of this site to go on to; anything else becomes the first page."""
    inside = re.fullmatch(r"/(?![/\\])[!-~]*", wanted) and not wanted.startswith((SIGN_IN, SIGN_OUT))
    return wanted if inside else "/"


@lru_cache
def prefetched() -> tuple[str, ...]:
    """The files of Streamlit's page, to be fetched while somebody types."""
    import streamlit

    static = Path(streamlit.__file__).parent / "static"
    first = re.findall(r'(?:href|src)="\./(static/[^"]+)"', (static / "index.html").read_text())
    scripts = [f"static/js/{name}" for name in _with_imports(static / "static" / "js", _LAZY_SCRIPTS)]
    icons = [f"static/media/{file.name}" for file in (static / "static" / "media").glob("MaterialSymbols-*.woff2")]
    return tuple(dict.fromkeys(f"/{path}" for path in (*first, *scripts, *icons)))


def _with_imports(directory: Path, prefixes: tuple[str, ...]) -> list[str]:
    """The scripts whose names start so, and all that they import, in turn."""
    found: dict[str, None] = {}
    waiting = sorted(file.name for file in directory.iterdir() if file.name.startswith(prefixes))
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += _IMPORT.findall((directory / name).read_text())
    return list(found)


def _page(wanted: str, name: str, message: str, status: int, headers: dict[str, str] | None, provider: str) -> Response:
    links = "\n".join(f'<link rel="prefetch" href="{escape(path)}">' for path in prefetched())
    font = next((path for path in prefetched() if path.endswith(".woff2")), "")
    body = Template(_PAGE.read_text()).substitute(
        prefetch=links,
        font=escape(font),
        next=escape(wanted),
        name=escape(name[:64]),
        error=f'<p class="error" role="alert" id="error">{escape(message)}</p>' if message else "",
        invalid='aria-invalid="true" aria-describedby="error"' if message else "",
        focus_name="" if name else "autofocus",
        focus_password="autofocus" if name else "",
        language=language.current(),
        languages=_links(wanted),
        provider=_provider_link(wanted, provider) if provider else "",
        sign_in=escape(_("Sign in")),
        user=escape(_("User")),
        password=escape(_("Password")),
        motto=escape(_("See every machine, act on any machine.")),
        choose=escape(_("Language")),
    )
    shared = {"cache-control": "no-store", "content-security-policy": _POLICY}
    return HTMLResponse(body, status, headers={**shared, **(headers or {})})


def _language(request: Request) -> str:
    named = request.query_params.get(language.PARAMETER, ""), request.cookies.get(language.COOKIE, "")
    return next(filter(None, map(language.known, named)), "") or language.accepted(
        request.headers.get("accept-language", "")
    )


def _provider_link(wanted: str, provider: str) -> str:
    address = escape(f"{SINGLE_SIGN_ON}?{urlencode({'next': wanted})}")
    words = escape(_("Sign in with {provider}", provider=provider))
    return f'<a class="provider" href="{address}">{words}</a>'


def _links(wanted: str) -> str:
    """The sign-in page in the other languages."""
    links = []
    for code in language.LANGUAGES:
        query = urlencode({language.PARAMETER: code, **({"next": wanted} if wanted != "/" else {})})
        here = ' aria-current="true"' if code == language.current() else ""
        name = escape(language.name_of(code))
        links.append(f'<a href="{SIGN_IN}?{escape(query)}" lang="{code}" hreflang="{code}"{here}>{name}</a>')
    return "\n".join(links)


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
