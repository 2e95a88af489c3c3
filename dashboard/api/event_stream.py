"""GET /events: changes as they happen, as server-sent events.

Invariants:
- A token has at most STREAMS_PER_TOKEN streams, an organisation STREAMS_PER_ORG, and all together STREAMS_MAX; more are
  answered 429.
- A stream ends within seconds when its token is revoked or expires, and at once when the server stops. One whose client
  does not read is ended by `dashboard.server.http_protocol`.
- The id of an event is the position after it: a client that sends it as Last-Event-ID misses nothing, and may get the
  end of an alert or incident twice.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from dashboard.api.answer import refuse
from dashboard.api.application import Gate
from dashboard.api.operation import ApiRequest
from dashboard.api.problem import ApiParameterProblem, ProblemError
from dashboard.auth.middleware import API_EVENTS
from schemas.database.paged.change_feed import ChangeFeed, FeedEvent

STREAMS_PER_TOKEN: Final = 4
STREAMS_PER_ORG: Final = 20
STREAMS_MAX: Final = 50
MEDIA_TYPE: Final = "text/event-stream"
POLL_SECONDS: Final = 2.0
HEARTBEAT_SECONDS: Final = 15.0
_RETRY_MILLISECONDS: Final = 5000
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


def routes(gate: Gate, *, poll_seconds: float = POLL_SECONDS) -> list[BaseRoute]:
    """Return the route to mount in front of Streamlit, before that of unknown addresses."""
    return [Route(API_EVENTS, EventStream(gate, poll_seconds=poll_seconds))]


class EventStream:
    """ASGI application of the streams. `poll_seconds`: time between two looks at the database."""

    def __init__(self, gate: Gate, *, poll_seconds: float) -> None:
        self._gate = gate
        self._poll_seconds = poll_seconds
        self._streams: Counter[tuple[str, int]] = Counter()
        """Open streams by organisation and token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with a stream, which ends with the connection."""
        request = Request(scope)
        try:
            admitted = await self._gate.admitted(request)
            feed = await self._gate.call(admitted.org, lambda: _begin(admitted, request))
            with self._counted(admitted.org, admitted.token):
                await self._stream(request, admitted.org, feed, receive, send)
        except ProblemError as error:
            await refuse(error)(scope, receive, send)

    @contextmanager
    def _counted(self, org: str, token: int) -> Iterator[None]:
        """Count a stream of a token while it is open. Raises ProblemError if there are too many."""
        of_org = sum(number for (name, _), number in self._streams.items() if name == org)
        are_all_open = of_org >= STREAMS_PER_ORG or self._streams.total() >= STREAMS_MAX
        if are_all_open or self._streams[org, token] >= STREAMS_PER_TOKEN:
            most = f"a token has {STREAMS_PER_TOKEN}, an organisation {STREAMS_PER_ORG}, all together {STREAMS_MAX}"
            detail = f"too many streams are open: {most}"
            raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"retry-after": "60"})
        self._streams[org, token] += 1
        try:
            yield
        finally:
            self._streams[org, token] -= 1
            self._streams += Counter()  # forgets tokens without a stream

    async def _stream(self, request: Request, org: str, feed: ChangeFeed, receive: Receive, send: Send) -> None:
        headers = Response(headers=_HEADERS, media_type=MEDIA_TYPE).raw_headers
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if request.method == "GET":
            feeding = asyncio.ensure_future(self._feed(request, org, feed, send))
            leaving = asyncio.ensure_future(_until_disconnected(receive))
            try:
                await asyncio.wait({feeding, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                feeding.cancel()
                leaving.cancel()
            if feeding.done() and not feeding.cancelled():
                feeding.result()
        await send({"type": "http.response.body", "body": b""})

    async def _feed(self, request: Request, org: str, feed: ChangeFeed, send: Send) -> None:
        """Send events until the token is no longer valid."""
        authorization = request.headers.get("authorization", "")
        await _send(send, f"retry: {_RETRY_MILLISECONDS}\nid: {feed.position}\n\n")
        quiet = 0.0
        while True:
            try:
                found = await self._gate.call(org, lambda: self._read(authorization, feed))
            except ProblemError as error:
                if error.status is not HTTPStatus.SERVICE_UNAVAILABLE:
                    return
                found = []  # the database is away: go on when it is back
            quiet = 0.0 if found else quiet + self._poll_seconds
            if found:
                await _send(send, "".join(map(_event, found)))
            elif quiet >= HEARTBEAT_SECONDS:
                quiet = 0.0
                await _send(send, ":\n\n")
            await asyncio.sleep(self._poll_seconds)

    def _read(self, authorization: str, feed: ChangeFeed) -> list[FeedEvent]:
        self._gate.authenticate(authorization)
        return feed.read(self._gate.now())


def _begin(admitted: ApiRequest, request: Request) -> ChangeFeed:
    """Return the feed of a client, from the event that it knows. Raises ProblemError."""
    feed = ChangeFeed(admitted.engine, admitted.org)
    try:
        feed.begin(admitted.now, request.headers.get("last-event-id", ""))
    except ValueError as error:
        told = ApiParameterProblem(parameter="Last-Event-ID", detail=str(error))
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"Last-Event-ID: {error}", errors=(told,)) from None
    return feed


def _event(event: FeedEvent) -> str:
    """Format an event: JSON in one line cannot break out of its field."""
    data = json.dumps({"at": event.at, **event.fields}, separators=(",", ":"))
    return f"event: {event.kind}\nid: {event.position}\ndata: {data}\n\n"


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _until_disconnected(receive: Receive) -> None:
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            return
