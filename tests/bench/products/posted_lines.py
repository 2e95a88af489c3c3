"""InfluxDB and VictoriaMetrics: lines of a measurement in POST requests, over connections that stay."""

import json
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from bench.products.product import MACHINES, Product, Running, readings
from servers import free_port, listens, require_program, stop
from waiting import wait_until

CONNECTIONS = 8
DATABASE = "fleet"


class LineSender:
    """Sends reports as lines in POST requests, over some connections in turns, and reads each answer."""

    def __init__(self, port: int, path: str, reports_per_post: int) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: "
        self._per_post = reports_per_post
        self._port = port
        self._lines = [_line(number) for number in range(MACHINES)]
        self._sent = 0

    def feed(self, count: int) -> None:
        """Send this number of reports over new connections; each waits for its answer before the next."""
        posts = count // self._per_post
        with ExitStack() as exits:
            connections = [
                exits.enter_context(socket.create_connection(("127.0.0.1", self._port))) for _ in range(CONNECTIONS)
            ]
            for first in range(0, posts, CONNECTIONS):
                used = connections[: min(CONNECTIONS, posts - first)]
                for connection in used:
                    connection.sendall(self._request())
                for connection in used:
                    answer = connection.recv(4096)
                    assert answer.startswith(b"HTTP/1.1 204"), answer[:300]

    def _request(self) -> bytes:
        at = time.time_ns()
        numbers = range(self._sent, self._sent + self._per_post)
        self._sent += self._per_post
        body = "\n".join(f"{self._lines[number % MACHINES]} {at}" for number in numbers)
        return f"{self._head}{len(body)}\r\n\r\n{body}".encode()


@contextmanager
def _victoriametrics(directory: Path, *, reports_per_post: int) -> Iterator[Running]:
    port = free_port()
    program = require_program("victoria-metrics", "victoria-metrics")
    argv = [program, f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={directory}", "-retentionPeriod=1"]
    with _listening(argv, directory, port):
        query = urllib.parse.quote("sum(count_over_time({__name__=~'vitals_.+'}[1h]))")

        def stored() -> int:
            answer = get_json(f"http://127.0.0.1:{port}/api/v1/query?query={query}&nocache=1")
            found = answer["data"]["result"]
            return int(found[0]["value"][1]) if found else 0

        yield Running(LineSender(port, "/write", reports_per_post).feed, stored)


@contextmanager
def _influxdb(directory: Path, *, reports_per_post: int) -> Iterator[Running]:
    port, backup = free_port(), free_port()
    program = require_program("influxd", "influxdb")
    configuration = directory / "influxdb.conf"
    configuration.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{backup}"\n'
        f'[meta]\ndir = "{directory}/meta"\n'
        f'[data]\ndir = "{directory}/data"\nwal-dir = "{directory}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
    )
    with _listening([program, "run", "-config", str(configuration)], directory, port):
        url = f"http://127.0.0.1:{port}/query?db={DATABASE}&q="
        get_json(url + urllib.parse.quote(f"CREATE DATABASE {DATABASE}"), method="POST")

        def stored() -> int:
            answer = get_json(url + urllib.parse.quote("SELECT COUNT(*) FROM vitals"))
            series = answer["results"][0].get("series")
            return sum(series[0]["values"][0][1:]) if series else 0

        yield Running(LineSender(port, f"/write?db={DATABASE}", reports_per_post).feed, stored)


@contextmanager
def _listening(argv: list[str], directory: Path, port: int) -> Iterator[None]:
    with ExitStack() as exits:
        log = exits.enter_context((directory / "log").open("wb"))
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        exits.callback(stop, process)
        wait_until(lambda: listens(port) or process.poll() is not None, what=f"{argv[0]} listening")
        assert process.poll() is None, (directory / "log").read_text()[-2000:]
        yield


def get_json(url: str, *, method: str = "GET") -> Any:  # noqa: ANN401 - JSON
    """Return the answer to a request without a body."""
    with urlopen(Request(url, method=method), timeout=60) as answer:  # noqa: S310 - on loopback
        return json.load(answer)


def _line(machine: int) -> str:
    fields = ",".join(f"{name}={value}" for name, value in readings(machine).items())
    return f"vitals,org=org{machine % 10},machine=m{machine:05} {fields}"


def _product(name: str, start: Callable[..., Any], reports: int, count: int) -> Product:
    fed = "a report per POST" if reports == 1 else f"{reports:,} reports per POST"
    survives, program, package = _FACTS[name]
    return Product(name, fed, partial(start, reports_per_post=reports), count, survives, program, package, reports > 1)


_FACTS = {
    "VictoriaMetrics": ("seconds later", "victoria-metrics", "victoria-metrics"),
    "InfluxDB": ("at the answer", "influxd", "influxdb"),
}
PRODUCTS = [
    _product("VictoriaMetrics", _victoriametrics, 1, 20_000),
    _product("VictoriaMetrics", _victoriametrics, 1_000, 100_000),
    _product("InfluxDB", _influxdb, 1, 10_000),
    _product("InfluxDB", _influxdb, 1_000, 50_000),
]
