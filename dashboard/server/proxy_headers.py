"""Headers of a reverse proxy: the scheme and the address of the client in front of it.

Invariants:
- `X-Forwarded-Proto` and `X-Forwarded-For` count only from the addresses in the setting `proxies`, loopback included:
  from any other client they could mark a plain connection as encrypted, or evade the throttling of its address.
- Headers that are ignored are logged with the setting that would accept them.
"""

import logging
import os
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from runtime.rate_limited_log import RateLimitedLog

_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
_UVICORN_VARIABLE = "FORWARDED_ALLOW_IPS"
_log = RateLimitedLog(logging.getLogger(__name__), seconds=3600.0)


class TrustedProxies:
    """ASGI middleware that applies the headers of these addresses and networks, and ignores those of others."""

    def __init__(self, app: ASGIApp, *, proxies: Sequence[str]) -> None:
        self._app = app
        self._behind_proxy = ProxyHeadersMiddleware(app, trusted_hosts=list(proxies))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the scheme and the client that a trusted proxy states."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        client = scope["client"][0] if scope.get("client") else ""
        if client not in self._behind_proxy.trusted_hosts and any(name in _FORWARDED for name, _ in scope["headers"]):
            _log.warning(
                client,
                "X-Forwarded headers of %s are ignored: if it is a proxy that overwrites them, name it in the setting "
                "proxies (DASHFLEET_DASHBOARD_PROXIES)",
                client or "an unknown address",
            )
        await self._behind_proxy(scope, receive, send)  # type: ignore[arg-type]


def disable_server_default() -> None:
    """Keep uvicorn from applying the headers of loopback, before this middleware could decide."""
    os.environ[_UVICORN_VARIABLE] = ""
