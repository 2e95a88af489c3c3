"""Requests that do not arrive completely, over real sockets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from streamlit.web.server.starlette import starlette_server
from uvicorn import Config
from uvicorn.server import ServerState

from dashboard.auth.forms import receive_form
from dashboard.server import http_protocol, streamlit_fixes
from dashboard.server.http_protocol import TimedHttpProtocol

LIMIT = 0.3
POST = b"POST /form HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nContent-Length: 100\r\n\r\n"
UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


async def form(request: Request) -> Response:
    received = await receive_form(request)
    return received if isinstance(received, Response) else PlainTextResponse("received")


async def slow(_: Request) -> Response:
    await asyncio.sleep(3 * LIMIT)
    return PlainTextResponse("slow")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await asyncio.sleep(3 * LIMIT)
    await websocket.send_text("still here")
    await websocket.close()


APP = Starlette(
    routes=[Route("/form", form, methods=["POST"]), Route("/slow", slow), WebSocketRoute("/socket", socket)]
)


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[Talk], Any]:
    """Run a conversation with a server; afterwards nothing is in the log but warnings."""
    monkeypatch.setattr(http_protocol, "REQUEST_SECONDS", LIMIT)

    async def run(talk: Talk) -> Any:  # noqa: ANN401
        config = Config(APP, lifespan="off", ws="websockets-sansio", log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: TimedHttpProtocol(config, state, {}), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                found = await asyncio.wait_for(talk(reader, writer), 20)
            finally:
                writer.close()
            await asyncio.gather(*state.tasks)
            return found

    def made(talk: Talk) -> Any:  # noqa: ANN401
        found = asyncio.run(run(talk))
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        return found

    return made


def sending(*parts: bytes) -> Talk:
    """Send parts with a pause shorter than the limit between them; return all that is answered."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        answering = asyncio.ensure_future(reader.read())
        for part in parts:
            if not answering.done():
                writer.write(part)
                await asyncio.sleep(LIMIT / 5)
        return await answering

    return talk


@pytest.mark.parametrize(
    "parts",
    [(), (b"GET / HT",), (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ",), (b"G", b"E", b"T", b" ", b"/", b" ", b"H")],
    ids=["nothing", "half a line", "half of the headers", "a letter now and then"],
)
def test_headers_that_do_not_arrive_in_time_end_the_connection(
    talk: Callable[[Talk], Any], parts: tuple[bytes, ...]
) -> None:
    assert talk(sending(*parts)).startswith(b"HTTP/1.1 408 ")


def test_a_form_that_does_not_arrive_in_time_ends_the_connection_without_a_traceback(
    talk: Callable[[Talk], Any],
) -> None:
    assert talk(sending(POST, b"name=")).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("sent", [b"GET / HT", POST, POST + b"name=a"])
def test_a_client_that_breaks_off_costs_no_traceback(talk: Callable[[Talk], Any], sent: bytes) -> None:
    async def break_off(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await asyncio.sleep(LIMIT / 5)
        writer.transport.abort()

    talk(break_off)


def test_a_response_may_take_longer_and_the_connection_serves_the_next_request(talk: Callable[[Talk], Any]) -> None:
    request = b"GET /slow HTTP/1.1\r\nHost: a\r\n"

    async def ask_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(request + b"\r\n")
        first = await reader.readuntil(b"slow")
        writer.write(request + b"Connection: close\r\n\r\n")
        return first + await reader.read()

    assert talk(ask_twice).count(b"200 OK") == 2


def test_a_websocket_stays_open(talk: Callable[[Talk], Any]) -> None:
    assert b"still here" in talk(sending(UPGRADE))


def test_streamlit_serves_with_it() -> None:
    streamlit_fixes.apply()
    assert starlette_server._get_uvicorn_config_kwargs()["http"] is TimedHttpProtocol
