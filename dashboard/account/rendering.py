"""Drawing of the pages of this package, and the script of passkeys.

Invariants:
- A page runs no script but that of passkeys, requests nothing from other hosts, and is stored in no cache: it may show
  a secret once.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from dashboard.auth.middleware import PASSKEY_SCRIPT
from dashboard.auth.passkeys import Site
from dashboard.auth.sign_in import font
from dashboard.i18n import language
from dashboard.i18n.language import _
from dashboard.widgets.asset_files import asset, template

_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def page(
    name: str, values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """Return the page of the template `assets/NAME`."""
    told = {"language": language.current(), "script": PASSKEY_SCRIPT, "font": font(), "texts": _texts(), **values}
    shared = {"cache-control": "no-store", "content-security-policy": _POLICY}
    return HTMLResponse(template(name).render(told), status, headers={**shared, **(headers or {})})


def script_route() -> BaseRoute:
    """Return the route of the script."""
    return Route(PASSKEY_SCRIPT, _script, methods=["GET"])


def site_of(request: Request) -> Site:
    """Return the dashboard as the browser of a request sees it."""
    return Site(request.url.hostname or "", f"{request.url.scheme}://{request.url.netloc}")


def takes_passkeys(request: Request) -> bool:
    """Return True if browsers make passkeys for this address: they need a host name, and TLS or this machine."""
    host = request.url.hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return request.url.scheme == "https" or host == "localhost" or host.endswith(".localhost")
    return False


async def _script(_request: Request) -> Response:
    return Response(asset("passkey.js"), media_type="text/javascript", headers={"cache-control": "no-cache"})


def _texts() -> dict[str, str]:
    """Return the texts that several pages have."""
    return {
        "password": _("Password"),
        "code": _("Code"),
        "remove": _("Remove"),
        "back": _("Back to the dashboard"),
        "continue": _("Continue"),
        "failed": _("The passkey was not used. Try again."),
    }
