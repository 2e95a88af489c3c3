"""Files to download, outside of Streamlit: the fleet as it is filtered, and a machine's history.

Invariants:
- The organisation is that of the visitor's session; no address can name another.
- A file is sent while it is read. No reader, however slow, holds a transaction of the database open.
- The address of a file is that of the page, so that what is filtered on the screen is what is in the file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from dashboard.export.formats import Rows
from dashboard.export.history import Wanted
from dashboard.fleet import state
from dashboard.i18n.language import _, marked
from dashboard.widgets import markup
from schemas.contract.topics import is_id
from schemas.database.queries import history as history_queries
from schemas.database.queries.history import RANGES
from schemas.fleet.history import resolution

FLEET: Final = "/export/fleet"
MACHINE: Final = "/export/machine"

_NAMES: Final = {"csv": marked("CSV"), "jsonl": marked("JSON lines")}

_PART: Final = 1000
"""How many rows of history are read at once, about: so many minutes or hours, or seconds of samples."""

Now = Callable[[], int]


def links(path: str, query: Mapping[str, str]) -> str:
    """Links to a file in each form, as HTML."""
    asked = f"?{urlencode(query)}" if query else ""
    return markup.downloads(_("Export"), [(_(name), f"{path}.{form}{asked}") for form, name in _NAMES.items()])


class Downloads:
    """The routes over the fleet's database, which may be away when they are made."""

    def __init__(self, open_database: Callable[[], Engine], *, now: Now) -> None:
        self._open = open_database
        self._engine: Engine | None = None
        self._now = now

    def routes(self) -> list[Route]:
        """What to mount in front of Streamlit."""
        return [
            Route(FLEET + ".{form}", self._fleet, methods=["GET"]),
            Route(MACHINE + ".{form}", self._machine, methods=["GET"]),
        ]

    async def _fleet(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request, self._of_fleet)

    async def _machine(self, request: Request) -> Response:
        return await run_in_threadpool(self._answer, request, self._of_machine)

    def _answer(self, request: Request, find: Callable[[Engine, Request], Response]) -> Response:
        if request.path_params["form"] not in formats.FORMS:
            return PlainTextResponse("there is no such form of a file\n", 404)
        try:
            self._engine = self._engine or self._open()
            return find(self._engine, request)
        except SQLAlchemyError:
            return PlainTextResponse("the database cannot be read now: try again later\n", 503)

    def _of_fleet(self, engine: Engine, request: Request) -> Response:
        filters = state.parse(request.query_params).filters
        parts = fleet.rows(engine, _org(request), filters)
        return self._file(request, "fleet", fleet.COLUMNS, parts)

    def _of_machine(self, engine: Engine, request: Request) -> Response:
        name, org = request.query_params.get("id", ""), _org(request)
        length = RANGES.get(request.query_params.get("range", ""))
        if length is None:
            return PlainTextResponse("there is no such range\n", 404)
        end = self._now()
        kept = resolution(step=0, age=length, retention=history_queries.retention(engine, org))
        wanted = Wanted(org, (name,), end - length, end, kept)
        if not is_id(name) or history.unknown(engine, wanted):
            return PlainTextResponse("there is no such machine\n", 404)
        return self._file(request, name, history.names_of(wanted.columns), _history(engine, wanted))

    def _file(self, request: Request, name: str, columns: Sequence[str], parts: Iterable[Rows]) -> Response:
        form, parts = request.path_params["form"], iter(parts)
        first = next(parts, [])  # what cannot be read is said before the file begins
        at = datetime.fromtimestamp(self._now() / 1000, UTC)
        headers = {
            "content-disposition": f'attachment; filename="{name}-{at:%Y%m%dT%H%M%SZ}.{form}"',
            "cache-control": "no-store",
        }
        return StreamingResponse(
            _texts(form, columns, chain([first], parts)), media_type=formats.FORMS[form], headers=headers
        )


def _texts(form: str, columns: Sequence[str], parts: Iterable[Rows]) -> Iterator[str]:
    yield formats.head(form, columns)
    for some in parts:
        yield formats.body(form, columns, some)


def _history(engine: Engine, wanted: Wanted) -> Iterator[Rows]:
    """Its rows, some at a time, each part read whole before it is handed on."""
    step = _PART * (wanted.resolution.length or 1000)
    for start in range(wanted.start, wanted.end, step):
        for some in list(history.rows(engine, replace(wanted, start=start, end=min(start + step, wanted.end)))):
            yield history.timed(some)


def _org(request: Request) -> str:
    return request.headers["x-df-org"]
