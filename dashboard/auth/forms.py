"""Shared by the pages outside Streamlit: reading a form, the reason of a denial, and the language of a visitor.

Invariants:
- A form that another site sent, that is too long or that does not arrive in time is answered before it is read further.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from dashboard.auth.middleware import is_same_origin
from dashboard.i18n import language
from dashboard.i18n.language import ngettext

_BODY_MAX_BYTES = 8192
_BODY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Denial:
    """The reason why something that was entered is not accepted, and the status and headers of the answer."""

    message: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


def throttled(seconds: int) -> Denial:
    """Return the denial of an attempt that comes too early."""
    message = ngettext(
        "Too many attempts. Try again in {n} second.", "Too many attempts. Try again in {n} seconds.", seconds
    )
    return Denial(message, 429, {"retry-after": str(seconds)})


async def receive_form(request: Request) -> dict[str, str] | Response:
    """Return the fields of a form that a page of this dashboard posted, or the answer to anything else."""
    if not is_same_origin(request.headers):
        return PlainTextResponse("this form was not sent from the dashboard\n", 403)
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            form = await _read_form(request)
    except (TimeoutError, ClientDisconnect):
        return PlainTextResponse("the form did not arrive\n", 408, headers={"connection": "close"})
    return PlainTextResponse("too much for a form\n", 413) if form is None else form


async def _read_form(request: Request) -> dict[str, str] | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_MAX_BYTES:
            return None
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {field: values[0] for field, values in fields.items()}


def language_of(request: Request) -> str:
    """Return the language of a page outside Streamlit."""
    named = request.query_params.get(language.PARAMETER, ""), request.cookies.get(language.COOKIE, "")
    return next(filter(None, map(language.known, named)), "") or language.accepted(
        request.headers.get("accept-language", "")
    )
