"""The answer to the address of a page that does not exist: Streamlit would show its first page instead.

Invariants:
- Only what a browser opens as a page is answered; files and connections of Streamlit are not looked at.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from dashboard.account import rendering
from dashboard.auth.forms import language_of
from dashboard.i18n.language import _, speaking

_TEMPLATE: Final = "not-found.html"
_STREAMLIT: Final = ("_stcore", "static", "media", "component", "app", "vendor")
"""First parts of addresses that Streamlit answers itself."""


class UnknownPages(BaseRoute):
    """A route, the last before Streamlit, that matches every page but these. `paths`: of the pages, without slashes."""

    def __init__(self, paths: frozenset[str]) -> None:
        self._known = paths | {""}
        self._answer = Route("/{path:path}", _not_found, methods=["GET"])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match what a browser opens as a page and no page is at."""
        if scope["type"] != "http" or scope["method"] != "GET":
            return Match.NONE, {}
        path = scope["path"].strip("/")
        if path in self._known or path.partition("/")[0] in _STREAMLIT:
            return Match.NONE, {}
        if "text/html" not in Request(scope).headers.get("accept", ""):
            return Match.NONE, {}
        return self._answer.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that matches."""
        await self._answer.handle(scope, receive, send)


async def _not_found(request: Request) -> Response:
    with speaking(language_of(request)):
        values = {
            "title": _("Page not found"),
            "text": _("There is no page at this address. The link may be mistyped, or older than this version."),
            "home": _("Open the fleet"),
        }
        return rendering.page(_TEMPLATE, values, 404)
