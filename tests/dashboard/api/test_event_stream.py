"""Server-sent events, over a port, with the protocol of the dashboard's server."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import pytest
import uvicorn
from http_api import HttpApi, bearer
from seeding import NOW, Fleet
from servers import listens
from sqlalchemy import Engine, insert, update
from waiting import wait_until

from dashboard.api import event_stream
from dashboard.server import http_protocol
from dashboard.server.http_protocol import TimedHttpProtocol
from schemas.database import tables

SECONDS = 10.0


@dataclass
class Stream:
    """An open stream; `read` waits for its next event, and returns None when it has ended."""

    connection: http.client.HTTPConnection
    answer: http.client.HTTPResponse
    last_id: str = ""
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def read(self) -> tuple[str, dict[str, Any]] | None:
        kind = ""
        while line := self.answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                kind = value
            elif name == "data":
                return kind, json.loads(value)
        return None

    def begun(self) -> "Stream":
        """Read the first lines, which tell that the stream looks at the database from now on."""
        assert self.answer.readline().startswith(b"retry: ")
        self.last_id = self.answer.readline().decode().strip().removeprefix("id: ")
        return self

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@dataclass
class Server:
    """The API on a port."""

    port: int
    running: uvicorn.Server
    thread: Thread
    streams: list[Stream] = field(default_factory=list)

    def open(self, headers: dict[str, str]) -> Stream:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", "/api/v1/events", headers=headers)
        self.streams.append(Stream(connection, connection.getresponse()))
        return self.streams[-1]

    def stop(self) -> None:
        self.running.should_exit = True
        self.thread.join(SECONDS)


@contextmanager
def serving(api: HttpApi) -> Iterator[Server]:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # of its connections, so that little fills them
    port = listening.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(api.app, log_level="error", lifespan="off", http=TimedHttpProtocol))
    server = Server(port, running, Thread(target=running.run, args=([listening],)))
    server.thread.start()
    wait_until(lambda: listens(port), what="the API")
    try:
        yield server
    finally:
        for stream in server.streams:
            stream.close()
        server.stop()
        running.force_exit = True
        server.thread.join(SECONDS)


@pytest.fixture
def server(api: HttpApi) -> Iterator[Server]:
    with serving(api) as server:
        yield server


def test_what_happens_arrives_with_the_names_of_the_contract_and_nothing_of_others(
    api: HttpApi, server: Server, fleet: Fleet, database: Engine
) -> None:
    key, theirs = fleet.machine("a"), fleet.machine("theirs", org="other")
    fleet.transition(key, NOW - 1000, "online", "stale", "silent")
    stream = server.open(bearer(api.token())).begun()
    assert stream.answer.getheader("content-type", "").startswith("text/event-stream")
    fleet.transition(theirs, NOW, "online", "offline", "lost")
    fleet.transition(key, NOW, "stale", "offline", "lost")
    expected = {"at": NOW, "machine": "a", "before": "stale", "after": "offline", "reason": "lost"}
    assert stream.read() == ("presence", expected)
    fleet.alert(theirs, "cpu", NOW)
    fleet.alert(key, "disk", NOW, title='Disk\n\nevent: x\ndata: {"a"', severity="critical")
    kind, alert = stream.read() or ("", {})
    assert (kind, alert["rule"], alert["machine"], alert["until"]) == ("alert", "disk", "a", None)
    assert alert["title"].startswith("Disk\n\nevent: x")
    with database.begin() as connection:
        connection.execute(update(tables.alert).values(ended_at=NOW + 5, closed_at=NOW + 9))
    kind, alert = stream.read() or ("", {})
    assert (kind, alert["rule"], alert["until"], alert["at"]) == ("alert", "disk", NOW + 5, NOW + 9)
    fleet.incident("noisy", org="other")
    fleet.incident("mass-silence", org="home")
    kind, incident = stream.read() or ("", {})
    assert (kind, incident["kind"], incident["until"]) == ("incident", "mass-silence", None)


def test_a_client_that_comes_back_misses_nothing(api: HttpApi, server: Server, fleet: Fleet) -> None:
    key = fleet.machine("a")
    token = bearer(api.token())
    stream = server.open(token).begun()
    fleet.transition(key, NOW, "online", "stale", "silent")
    stream.read()
    last = stream.last_id
    stream.close()
    fleet.transition(key, NOW + 1, "stale", "offline", "lost")
    fleet.alert(key, "away", NOW + 2)
    again = server.open({**token, "last-event-id": last}).begun()
    events = [again.read() or ("", {}), again.read() or ("", {})]
    assert [(kind, found.get("after", found.get("rule"))) for kind, found in events] == [
        ("presence", "offline"),
        ("alert", "away"),
    ]


def test_a_stream_ends_with_its_token(api: HttpApi, server: Server, fleet: Fleet) -> None:  # noqa: ARG001
    stream = server.open(bearer(api.token(name="x"))).begun()
    api.tokens.revoke("home", "x", by="root")
    assert stream.read() is None


def test_a_server_that_stops_ends_the_streams(api: HttpApi, server: Server, fleet: Fleet) -> None:  # noqa: ARG001
    stream = server.open(bearer(api.token())).begun()
    server.stop()
    assert not server.thread.is_alive()
    assert stream.read() is None


def test_streams_are_bounded_and_a_closed_one_makes_room(
    api: HttpApi,
    server: Server,
    fleet: Fleet,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "STREAMS_PER_TOKEN", 2)
    monkeypatch.setattr(event_stream, "STREAMS_MAX", 3)
    token, other = bearer(api.token()), bearer(api.token())
    first, _second = server.open(token).begun(), server.open(token).begun()
    refused = server.open(token).answer
    assert (refused.status, refused.getheader("retry-after")) == (429, "60")
    server.open(other).begun()
    assert server.open(other).answer.status == 429
    first.close()

    def admitted() -> bool:
        return server.open(other).answer.status == 200

    wait_until(admitted, what="room for another stream")


def test_an_organisation_does_not_take_the_streams_of_all(
    api: HttpApi,
    server: Server,
    fleet: Fleet,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "STREAMS_PER_ORG", 2)
    for _ in range(2):
        server.open(bearer(api.token())).begun()
    assert server.open(bearer(api.token())).answer.status == 429
    assert server.open(bearer(api.token("other"))).answer.status == 200


def test_a_client_that_does_not_read_loses_its_stream(
    api: HttpApi, server: Server, fleet: Fleet, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "STREAMS_PER_TOKEN", 1)
    monkeypatch.setattr(http_protocol, "UNREAD_SECONDS", 0.1)
    row = {"machine_id": fleet.machine("a"), "before": "online", "after": "stale", "reason": "x" * 32, "session": 1}
    with database.begin() as connection:
        connection.execute(insert(tables.transition), [{**row, "at": NOW + each} for each in range(2000)])
    token = bearer(api.token())
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", server.port))
        start = f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: {token['authorization']}\r\n"
        idle.sendall(f"{start}Last-Event-ID: 0-0-0-0-0\r\n\r\n".encode())
        assert idle.recv(15) == b"HTTP/1.1 200 OK"
        assert server.open(token).answer.status == 429
        wait_until(lambda: server.open(token).answer.status == 200, what="the place of a client that does not read")


@pytest.mark.parametrize("last", ["x", "1-2-3", "1-2-3-4-5-6", "-1-2-3-4-5", "9" * 99])
def test_an_id_that_is_none_is_refused(api: HttpApi, fleet: Fleet, last: str) -> None:  # noqa: ARG001
    answer = api.client.get("/api/v1/events", headers={**bearer(api.token()), "last-event-id": last})
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "Last-Event-ID")


def test_a_token_is_needed_and_get(api: HttpApi, fleet: Fleet) -> None:  # noqa: ARG001
    assert api.client.get("/api/v1/events").status_code == 401
    assert api.client.post("/api/v1/events", headers=bearer(api.token())).status_code == 405
    head = api.client.head("/api/v1/events", headers=bearer(api.token()))
    assert (head.status_code, head.content) == (200, b"")
