"""The live readings of one machine, which its page fetches every second.

Invariants:
- The organisation is that of the visitor's session; no address can name another.
- A page that is closed or hidden fetches nothing, so the look at its machine ends within seconds.
- Nothing is stored: readings are those that the publisher holds in memory.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from broker.client.live_client import LiveView
from dashboard.auth.forms import language_of
from dashboard.auth.middleware import LIVE
from dashboard.i18n.language import _, marked, ngettext, speaking
from dashboard.live import live_gauges
from dashboard.publishing.publisher import Publisher
from runtime.clock import Clock
from schemas.contract.live import LIVE_SECONDS
from schemas.contract.org_config import Thresholds
from schemas.contract.topics import is_id
from schemas.database.queries import history, machines, settings
from schemas.database.queries.fleet_order import RETIRED
from schemas.fleet import forecast
from schemas.fleet.forecast import Forecast

ROW_SECONDS: Final = 10.0
"""Time for which a machine's row is reused."""

FORECAST_SECONDS: Final = 600.0
KEPT_MAX: Final = 1000
SOON_SECONDS: Final = 3.0
"""Time without readings after which the page says why; they need a moment to begin."""

SELDOM_SECONDS: Final = 10.0
"""Time between two requests of a page that gets no live readings for a lasting reason."""

_FORECAST_DAYS: Final = 30
_OLD_AGENT: Final = marked("Not live: the agent of this machine does not report every second.")
_OFFLINE: Final = marked("Not live: the machine is not online.")
_TOO_MANY: Final = marked("Not live: as many machines of the organisation are being watched as is possible at a time.")
_STARTING: Final = marked("Waiting for live readings …")
_NOT_LIVE: Final = marked("Not live: {why}")
_LIVE: Final = marked("Live, every second")


@dataclass(slots=True)
class _Known:
    """A machine as stored, and the time until which that is reused."""

    row: Row[Any]
    thresholds: Thresholds
    until: float
    forecast: Forecast
    forecast_until: float


@dataclass(frozen=True, slots=True)
class LiveState:
    """Content of the page: the gauges, empty unless live; a sentence; the seconds until it asks again."""

    html: str
    note: str
    seconds: float = LIVE_SECONDS


class LiveRoute:
    """The route; `engine`: the fleet's database, read-only."""

    def __init__(self, engine: Engine, publisher: Publisher, clock: Clock) -> None:
        self._engine = engine
        self._publisher = publisher
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    def routes(self) -> list[Route]:
        """Return the route to mount in front of Streamlit."""
        return [Route(LIVE, self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        name, org = request.query_params.get("id", ""), request.headers["x-df-org"]
        try:
            known = await run_in_threadpool(self._find, org, name) if is_id(name) else None
        except SQLAlchemyError:
            return PlainTextResponse("the database cannot be read\n", 503)
        if known is None:
            return PlainTextResponse("no such machine\n", 404)
        with speaking(language_of(request)):
            state = self._state(org, name, known)
        content = {"html": state.html, "note": state.note, "seconds": state.seconds}
        return JSONResponse(content, headers={"cache-control": "no-store"})

    def _find(self, org: str, name: str) -> _Known | None:
        now = self._clock.monotonic()
        known = self._known.get((org, name))
        if known is not None and now < known.until:
            return known
        row = machines.find_machine(self._engine, org, name)
        if row is None:
            return None
        found = self._read(org, row, known, now)
        self._known[org, name] = found
        self._known.move_to_end((org, name))
        if len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)
        return found

    def _read(self, org: str, row: Row[Any], known: _Known | None, now: float) -> _Known:
        config, _retention = settings.read_settings(self._engine, org)
        if known is None or now >= known.forecast_until:
            start = self._clock.now() // forecast.DAY * forecast.DAY - _FORECAST_DAYS * forecast.DAY
            days = history.read_disk_by_day(self._engine, row.id, start=start)
            expected, expected_until = forecast.forecast_disk(days), now + FORECAST_SECONDS
        else:
            expected, expected_until = known.forecast, known.forecast_until
        return _Known(row, config.thresholds, now + ROW_SECONDS, expected, expected_until)

    def _state(self, org: str, name: str, known: _Known) -> LiveState:
        row = known.row
        if row.presence == RETIRED:
            return LiveState("", "", SELDOM_SECONDS)
        if not (row.info or {}).get("live_interval_seconds"):
            return LiveState("", _(_OLD_AGENT), SELDOM_SECONDS)
        view = self._publisher.look(org, name)
        if view.is_live:
            now = self._clock.now()
            html = live_gauges.draw(row, view.readings, known.thresholds, known.forecast, now)
            return LiveState(html, _(_LIVE))
        why = self._publisher.unreachable()
        return LiveState("", _(_NOT_LIVE, why=why), SELDOM_SECONDS) if why else LiveState("", _missing(row, view))


def _missing(row: Row[Any], view: LiveView) -> str:
    """Return why there are no live readings although the dashboard is connected."""
    if view.refused == "too-many":
        return _(_TOO_MANY)
    if row.presence != "online":
        return _(_OFFLINE)
    if view.waited_seconds < SOON_SECONDS:
        return _(_STARTING)
    waited = round(view.waited_seconds)
    return ngettext(
        "Not live: no reading has arrived for {n} second.", "Not live: no reading has arrived for {n} seconds.", waited
    )
