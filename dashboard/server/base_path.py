"""A path below which the dashboard is served, such as `https://example.org/fleet/`.

Everything behind this middleware, and every address written in Python, is as without a base path. Streamlit's pages and
scripts use relative addresses.

Invariants:
- A request is served with the base path and without it, so the proxy may remove it, and checks on the server need none.
- Redirects, cookies that are limited to a path, and addresses in the pages outside Streamlit get the base path.
"""

import re
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.auth.middleware import BASE_PATH

_ADDRESS: Final = re.compile(rb'(\s(?:href|src|action|data-options)="|\burl\("?)(/(?!/)[^")]*)')
"""Attributes with an address, in a page whose values are escaped: no text can look like one."""
_COOKIE_PATH: Final = re.compile(r"(;\s*path=)(/[^;\s]+)", re.IGNORECASE)


class BasePath:
    """ASGI middleware for this base path, which begins with a slash and ends without one."""

    def __init__(self, app: ASGIApp, *, base: str) -> None:
        self._app = app
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, with the base path or without it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == self._base and scope["type"] == "http":
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{path}/{query and '?'}{query}", 308)(scope, receive, send)
            return
        if path.startswith(f"{self._base}/"):
            path = path.removeprefix(self._base)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        headers = scope["headers"]
        if b"text/html" in dict(headers).get(b"accept", b""):  # a compressed page could not be rewritten
            headers = [(name, value) for name, value in headers if name != b"accept-encoding"]
        inside = {**scope, "headers": headers, BASE_PATH: self._base}
        await self._app(inside, receive, _Rewriting(send, self._base).send)


class _Rewriting:
    """The sending side of a response. The body of an HTML page outside Streamlit is sent as one message."""

    def __init__(self, send: Send, base: str) -> None:
        self._send = send
        self._base = base
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            self._rewrite(headers)
            if headers.get("content-type", "").startswith("text/html") and "content-length" in headers:
                self._start = message  # until its body is here, which changes the length
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            start, self._start = self._start, None
            if not message.get("more_body", False):
                body = _ADDRESS.sub(self._with_base, message.get("body", b""))
                if message.get("body"):  # not of a HEAD request
                    MutableHeaders(scope=start)["content-length"] = str(len(body))
                message = {**message, "body": body}
            await self._send(start)
        await self._send(message)

    def _rewrite(self, headers: MutableHeaders) -> None:
        target = headers.get("location", "")
        if target.startswith("/") and not target.startswith("//"):
            headers["location"] = self._below(target)
        cookies = headers.getlist("set-cookie")
        if cookies:
            del headers["set-cookie"]
            for cookie in cookies:
                headers.append("set-cookie", _COOKIE_PATH.sub(rf"\g<1>{self._base}\g<2>", cookie))

    def _with_base(self, found: re.Match[bytes]) -> bytes:
        return found[1] + self._below(found[2].decode()).encode()

    def _below(self, address: str) -> str:
        """Return an address of the site with the base path; a browser's own address has it already."""
        return address if address.startswith(f"{self._base}/") else self._base + address
