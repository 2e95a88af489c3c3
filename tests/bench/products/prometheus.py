"""Prometheus: it fetches the reports, each second, from one target per machine or one for all."""

import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from bench.products.posted_lines import get_json
from bench.products.product import MACHINES, VALUES, Product, Running, readings
from servers import free_port, listens, require_program, stop
from waiting import wait_until

INTERVAL_SECONDS = 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: Prometheus leaves its connections when it stops."""


class Targets:
    """The pages that Prometheus fetches, and the number of reports that it has fetched."""

    def __init__(self, *, together: bool) -> None:
        self.port = free_port()
        self.fetched = 0
        self._lock = threading.Lock()
        pages = {f"/{number}": _page(number) for number in range(MACHINES)}
        if together:
            pages = {"/all": b"".join(_labelled(number) for number in range(MACHINES))}
        self._server = _Server(("127.0.0.1", self.port), self._handler(pages, MACHINES if together else 1))
        self.paths = list(pages)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self, pages: dict[str, bytes], reports: int) -> type[BaseHTTPRequestHandler]:
        targets = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page = pages[self.path]
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
                with targets._lock:
                    targets.fetched += reports

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def _prometheus(directory: Path, *, together: bool) -> Iterator[Running]:
    program = require_program("prometheus", "prometheus")
    port = free_port()
    targets = Targets(together=together)
    configuration = directory / "prometheus.yml"
    configuration.write_text(_configuration(targets))
    argv = [program, f"--config.file={configuration}", f"--storage.tsdb.path={directory}/data"]
    try:
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([*argv, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            wait_until(lambda: listens(port) or process.poll() is not None, what="Prometheus listening")
            server = psutil.Process(process.pid)
            yield Running(partial(_feed, server, targets), partial(_stored, server, port))
            server.resume()
        finally:
            stop(process)
    finally:
        targets.close()


def _feed(server: psutil.Process, targets: Targets, count: int) -> None:
    """Let it fetch for a while. Between its turns it stands still, as it cannot be told to wait."""
    wanted = targets.fetched + count
    server.resume()
    wait_until(lambda: targets.fetched >= wanted, seconds=120, what=f"{count} reports fetched")
    server.suspend()


def _stored(server: psutil.Process, port: int) -> int:
    server.resume()
    query = urllib.parse.quote(f"sum(count_over_time({next(iter(readings(0)))}[1h]))")
    found = get_json(f"http://127.0.0.1:{port}/api/v1/query?query={query}")["data"]["result"]
    return VALUES * int(found[0]["value"][1]) if found else 0


def _configuration(targets: Targets) -> str:
    groups = "".join(
        f"  - targets: ['127.0.0.1:{targets.port}']\n    labels: {{__metrics_path__: '{path}', name: '{path}'}}\n"
        for path in targets.paths
    )
    interval = f"{INTERVAL_SECONDS}s"
    return (
        f"global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\n"
        f"scrape_configs:\n- job_name: fleet\n  static_configs:\n{groups}"
    )


def _page(machine: int) -> bytes:
    return "".join(f"{name} {value}\n" for name, value in readings(machine).items()).encode()


def _labelled(machine: int) -> bytes:
    return "".join(f'{name}{{machine="m{machine}"}} {value}\n' for name, value in readings(machine).items()).encode()


def _product(fed: str, *, together: bool) -> Product:
    start = partial(_prometheus, together=together)
    return Product(
        "Prometheus", fed, start, 5 * MACHINES, "seconds later", "prometheus", "prometheus", together, paced=True
    )


PRODUCTS = [
    _product(f"{MACHINES:,} targets, one each", together=False),
    _product(f"one target with {MACHINES:,} machines", together=True),
]
