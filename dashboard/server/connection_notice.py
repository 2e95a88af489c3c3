"""A notice on a page whose WebSocket cannot be established, as behind a proxy that does not pass it on.

Streamlit draws a page over its WebSocket, so without one it shows grey bars, and can show no message. The script of the
notice is therefore added to Streamlit's HTML page.
"""

import html
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.auth.forms import language_of
from dashboard.i18n.language import _, marked, speaking
from dashboard.widgets import component

_STREAMLIT_PAGE: Final = b'id="root"'
_END_OF_HEAD: Final = b"</head>"
_TEXT: Final = marked(
    "The live connection (WebSocket) to the dashboard cannot be established, so this page stays empty. A proxy in "
    "between must pass on WebSocket upgrades and the Host header; see the installation guide."
)


class ConnectionNotice:
    """ASGI middleware that adds the notice to Streamlit's HTML page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; change the response if it is Streamlit's page."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Page(send, Request(scope)).send)


class _Page:
    """The sending side of a response, held back while it may be Streamlit's page, which is small."""

    def __init__(self, send: Send, request: Request) -> None:
        self._send = send
        self._request = request
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_html(message):
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._start)
        else:
            await self._send(message)

    async def _finish(self, start: Message) -> None:
        if _STREAMLIT_PAGE in self._body:
            headers = MutableHeaders(scope=start)
            self._body = self._body.replace(_END_OF_HEAD, self._script() + _END_OF_HEAD, 1)
            headers["content-length"] = str(len(self._body))
            for name in ("etag", "last-modified"):  # of the page without the script
                del headers[name]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._body})

    def _script(self) -> bytes:
        with speaking(language_of(self._request)):
            text = html.escape(_(_TEXT))
        return f'<script src=".{component.address("connection")}" data-text="{text}"></script>'.encode()


def _is_html(start: Message) -> bool:
    return start["status"] == 200 and MutableHeaders(scope=start).get("content-type", "").startswith("text/html")
