"""The readings of one machine, which the map fetches when its tile is pointed at.

Invariants:
- The organisation is that of the visitor's session; no address can name another.
- Readings that are not current say which time they are of.
"""

from typing import Any, Final

from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dashboard.auth.forms import language_of
from dashboard.fleet import rows
from dashboard.i18n import text
from dashboard.i18n.language import _, speaking
from runtime.clock import Clock
from schemas.contract.topics import is_id
from schemas.database.queries.machines import find_rows

DETAILS: Final = "/tile"


class TileDetails:
    """The route over the fleet's database, read-only."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the route to mount in front of Streamlit."""
        return [Route(DETAILS, self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        name, org = request.query_params.get("id", ""), request.headers["x-df-org"]
        try:
            found = await run_in_threadpool(find_rows, self._engine, org, [name]) if is_id(name) else []
        except SQLAlchemyError:
            return PlainTextResponse("the database cannot be read\n", 503)
        if not found:
            return PlainTextResponse("no such machine\n", 404)
        with speaking(language_of(request)):
            return PlainTextResponse(
                "\n".join(lines(found[0], self._clock.now())), headers={"cache-control": "no-store"}
            )


def lines(row: Row[Any], now: int) -> list[str]:
    """Return the tooltip of a machine: its status since when, its health, and its readings."""
    _word, why = rows.status(row, now)
    readings = {_("CPU"): row.cpu_percent, _("Memory"): row.memory_percent, _("Disk"): row.disk_percent}
    shown = " · ".join(f"{name} {text.percent(value)}" for name, value in readings.items())
    found = [why] if why else []
    if row.current:
        found.append(f"{_('Health')}: {rows.health(row).label}")
    elif row.as_of is not None:
        shown = _("{readings} ({length} ago)", readings=shown, length=text.duration((now - row.as_of) / 1000))
    if row.current or row.as_of is not None:
        found.append(shown)
    return found
