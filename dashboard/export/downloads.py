"""Downloads outside of Streamlit: the filtered fleet, and a machine's history.

Streamlit's own download button keeps the whole file in memory for each visitor.

Invariants:
- The organisation is that of the visitor's session; no address can name another.
- A file is sent while it is read. No reader, however slow, holds a transaction of the database open.
- The address of a file has the query of the page, so that the file contains what the screen shows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Final
from urllib.parse import urlencode

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dashboard.export import fleet, formats, history
from dashboard.export.files import with_times
from dashboard.export.formats import Rows
from dashboard.export.history import HistoryRange
from dashboard.fleet import state
from dashboard.i18n.language import _, marked
from dashboard.page.period import Period
from dashboard.widgets import markup
from runtime.clock import Clock
from schemas.contract.topics import is_id
from schemas.database.queries.settings import read_settings
from schemas.fleet.history import choose_resolution

FLEET: Final = "/export/fleet"
MACHINE: Final = "/export/machine"

_NAMES: Final = {"csv": marked("CSV"), "jsonl": marked("JSON lines")}
_ROWS_PER_READ: Final = 1000
"""Rows of history per query, about: minutes or hours, or seconds of samples."""

_ROWS_MAX: Final = 20_000
"""Rows in memory for one visitor: a machine that floods has many samples in a second."""


def links(path: str, query: Mapping[str, str]) -> str:
    """Return links to a file in each format, as HTML."""
    asked = f"?{urlencode(query)}" if query else ""
    return markup.downloads(_("Export"), [(_(name), f"{path}.{fmt}{asked}") for fmt, name in _NAMES.items()])


class Downloads:
    """The download routes over the fleet's database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return the routes to mount in front of Streamlit."""
        return [
            Route(FLEET + ".{format}", self._fleet, methods=["GET"]),
            Route(MACHINE + ".{format}", self._machine, methods=["GET"]),
        ]

    async def _fleet(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request, self._fleet_file)

    async def _machine(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request, self._machine_file)

    def _answer(self, request: Request, find: Callable[[Request], Response]) -> Response:
        if request.path_params["format"] not in formats.MEDIA_TYPES:
            return PlainTextResponse("unknown file format\n", 404)
        try:
            return find(request)
        except SQLAlchemyError:
            return PlainTextResponse("the database cannot be read now: try again later\n", 503)

    def _fleet_file(self, request: Request) -> Response:
        view = state.parse(request.query_params)
        rows = fleet.rows(self._engine, _org(request), view.filters, view.readings)
        return self._file(request, "fleet", fleet.columns(view.readings), rows)

    def _machine_file(self, request: Request) -> Response:
        name, org = request.query_params.get("id", ""), _org(request)
        now = self._clock.now()
        period = Period.parse(request.query_params, now)
        if period.code != request.query_params.get("range", ""):
            return PlainTextResponse("unknown range\n", 404)
        kept = choose_resolution(step=0, age=now - period.start, retention=read_settings(self._engine, org)[1])
        wanted = HistoryRange(org, (name,), period.start, period.end, kept)
        if not is_id(name) or history.unknown(self._engine, wanted):
            return PlainTextResponse("unknown machine\n", 404)
        return self._file(request, name, list(wanted.fields), _history(self._engine, wanted))

    def _file(self, request: Request, name: str, columns: Sequence[str], batches: Iterable[Rows]) -> Response:
        fmt, batches = request.path_params["format"], iter(batches)
        first = next(batches, [])  # a failing query is answered before the file begins
        at = datetime.fromtimestamp(self._clock.now() / 1000, UTC)
        headers = {
            "content-disposition": f'attachment; filename="{name}-{at:%Y%m%dT%H%M%SZ}.{fmt}"',
            "cache-control": "no-store",
        }
        body = (formats.lines(fmt, columns, batch) for batch in chain([first], batches))
        return StreamingResponse(
            chain([formats.header(fmt, columns)], body), media_type=formats.MEDIA_TYPES[fmt], headers=headers
        )


def _history(engine: Engine, wanted: HistoryRange) -> Iterator[Rows]:
    """Yield the rows; each query is read whole before its rows are handed on, of a shorter time where it has many."""
    longest = _ROWS_PER_READ * (wanted.resolution.length or 1000)
    start, step = wanted.start, longest
    while start < wanted.end:
        part = replace(wanted, start=start, end=min(start + step, wanted.end))
        found = _read(engine, part, most=_ROWS_MAX if step > 1 else None)
        if found is None:
            step = max(1, step // 4)
            continue
        yield from (with_times(batch, wanted.fields) for batch in found)
        start, step = part.end, min(longest, 2 * step)


def _read(engine: Engine, part: HistoryRange, *, most: int | None) -> list[Rows] | None:
    """Return the rows of a time in batches; None if there are more than `most`."""
    found: list[Rows] = []
    with closing(history.rows(engine, part)) as batches:
        for batch in batches:
            found.append(batch)
            if most is not None and sum(map(len, found)) > most:
                return None
    return found


def _org(request: Request) -> str:
    return request.headers["x-df-org"]
