"""Custom Streamlit components: HTML that a script in `assets/` draws.

Invariants:
- A browser fetches each script once. Streamlit would send it again with every refresh.
- A script's address contains a hash of its content, so that a page never runs an old version.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import streamlit as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dashboard.widgets.asset_files import ASSETS, asset

_PATH: Final = "/scripts"
_LOADER: Final = (
    "const script = await import(new URL('.' + {address!r}, location).href);\nexport default script.default;"
)
_FOR_EVER: Final = {"cache-control": "private, max-age=31536000, immutable"}


@lru_cache
def component(name: str, html: str) -> Any:  # noqa: ANN401 - Streamlit's renderer has no public type
    """Return the component that `assets/NAME.js` draws in this HTML."""
    return st.components.v2.component(
        f"dashfleet.{name}", html=html, js=_LOADER.format(address=address(name)), isolate_styles=False
    )


def routes() -> list[Route]:
    """Return the route that serves the scripts."""
    return [Route(_PATH + "/{file}", _script, methods=["GET"])]


def address(name: str) -> str:
    """Return the address of a component's script."""
    return f"{_PATH}/{name}.{_hash(name)}.js"


@lru_cache
def _hash(name: str) -> str:
    return blake2b(asset(f"{name}.js").encode(), digest_size=8).hexdigest()


async def _script(request: Request) -> Response:
    for path in ASSETS.glob("*.js"):
        if request.url.path == address(path.stem):
            return PlainTextResponse(asset(path.name), media_type="text/javascript", headers=_FOR_EVER)
    return PlainTextResponse("unknown script\n", 404)
