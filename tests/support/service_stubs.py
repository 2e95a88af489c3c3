"""Stub servers of notification services: HTTP, HTTPS and SMTP, and names that resolve to them.

`Internet` lets made-up public names and addresses reach the stubs, below the notifier's guard: the guard sees the
public address, and only then the connection goes to the stub.
"""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from notifier.sending import network_guard

PUBLIC = "93.184.216.34"


@dataclass(frozen=True)
class Received:
    method: str
    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        return json.loads(self.body)


@dataclass
class HttpStub:
    """A real HTTP server that records requests. `answer` maps a request to status, headers and body."""

    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], tuple[int, dict[str, str], bytes]] = lambda _: (200, {}, b'{"ok": true}')
    hang: threading.Event | None = None
    port: int = 0

    def of(self, host: str) -> list[Received]:
        return [each for each in self.received if each.host.partition(":")[0] == host]


@contextmanager
def http_stub(certificate: Path | None = None, key: Path | None = None) -> Iterator[HttpStub]:
    stub = HttpStub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, headers.get("host", ""), self.path, headers, self.rfile.read(length))
            stub.received.append(request)
            if stub.hang is not None:
                stub.hang.wait(60)
            status, more, body = stub.answer(request)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the names of http.server

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            """Print nothing: clients that hang up are part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    stub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        if stub.hang is not None:
            stub.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Internet:
    """Names with addresses of our choice, and public addresses that lead to stubs. `reached`: what was connected to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[str]] = {}
        self.everything_public = False
        self.ports: dict[int, int] = {}
        self.reached: list[str] = []
        self._lookup, self._connect = socket.getaddrinfo, network_guard._connect
        self._turn: dict[str, int] = {}
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)
        monkeypatch.setattr(network_guard, "_connect", self._route)

    def _resolve(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ANN401 - as it is called
        name = host.decode() if isinstance(host, bytes) else host
        answers = self.names.get(name, [PUBLIC] if self.everything_public else [])
        if not answers:
            return self._lookup(host, port, *args, **kwargs)
        turn = self._turn[name] = self._turn.get(name, -1) + 1
        address = answers[min(turn, len(answers) - 1)]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        target = (address, int(port or 0), 0, 0) if ":" in address else (address, int(port or 0))
        return [(family, socket.SOCK_STREAM, 6, "", target)]

    def _route(self, sock: socket.socket, address: Any) -> None:  # noqa: ANN401 - as it is called
        self.reached.append(address[0])
        if address[0] == PUBLIC:
            address = ("127.0.0.1", self.ports[address[1]])
        self._connect(sock, address)
