"""Former addresses of pages, which redirect to the present ones."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

MOVED: Final = {"/alerts": "/problems", "/incidents": "/problems", "/changes": "/timeline?kinds=settings"}


def routes() -> list[Route]:
    """Return a route for each former address; the query is kept."""
    return [Route(path, _redirect, methods=["GET"]) for path in MOVED]


async def _redirect(request: Request) -> RedirectResponse:
    place = MOVED[request.url.path]
    query = f"{'&' if '?' in place else '?'}{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{place}{query}", 308)
