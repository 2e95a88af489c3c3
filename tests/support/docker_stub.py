"""A container engine on a Unix socket, which answers as Docker 27 does."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from sys import argv, stdin
from typing import Any

CACHE_BYTES = 50 << 20


class DockerStub:
    """The engine: its containers by id, the requests it has had, and the targets that hang until `let_go`."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.use: dict[str, dict[str, Any]] = {}
        self.restarts: dict[str, int] = {}
        self.requests: list[str] = []
        self.hanging: tuple[str, ...] = ()
        self.let_go = threading.Event()
        self.seconds = 1_760_000_000
        self.refuses = ""

    def put(self, name: str, *, state: str = "running", status: str = "Up 2 hours", restarts: int = 0) -> None:
        id_ = f"{name}-".ljust(64, "0")
        self.containers[id_] = {
            "Id": id_, "Names": [f"/{name}"], "Image": f"{name}:1", "ImageID": "sha256:ab", "Command": "run",
            "Created": 1759990000, "Ports": [], "Labels": {}, "State": state, "Status": status,
            "HostConfig": {"NetworkMode": "bridge"}, "Mounts": [],
        }  # fmt: skip
        self.restarts[id_] = restarts
        self.spend(name)

    def spend(self, name: str, *, cpu_seconds: float = 0.0, mib: int = 100, received: int = 0, sent: int = 0) -> None:
        """Set what a container has used since its start."""
        memory = {"usage": (mib << 20) + CACHE_BYTES, "limit": 8 << 30, "stats": {"inactive_file": CACHE_BYTES}}
        self.use[f"{name}-".ljust(64, "0")] = {
            "cpu_stats": {
                "cpu_usage": {"total_usage": round(cpu_seconds * 1e9), "usage_in_usermode": 1},
                "system_cpu_usage": 1, "online_cpus": 4,
            },
            "precpu_stats": {"cpu_usage": {"total_usage": 0}},
            "memory_stats": memory,
            "networks": {"eth0": {"rx_bytes": received, "rx_packets": 1, "tx_bytes": sent, "tx_packets": 1}},
        }  # fmt: skip

    def answer(self, target: str) -> Any:  # noqa: ANN401 - JSON
        path = target.partition("?")[0].split("/")
        if path[1:] == ["containers", "json"]:
            return list(self.containers.values())
        if path[-1] == "stats" and path[2] in self.use:
            return {"read": f"{_time(self.seconds)}.123456789Z", "preread": "0001-01-01T00:00:00Z", **self.use[path[2]]}
        if path[-1] == "json" and path[2] in self.containers:
            return {"Id": path[2], "RestartCount": self.restarts[path[2]], "State": {"Status": "running"}}
        return None


def _time(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@contextmanager
def docker_stub(socket: Path) -> Iterator[DockerStub]:
    """Run a stub on this socket."""
    stub = DockerStub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stub.requests.append(self.path)
            if any(part in self.path for part in stub.hanging):
                stub.let_go.wait(60)
            found = stub.answer(self.path)
            body = found if isinstance(found, bytes) else json.dumps(found if found is not None else {}).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            path = self.path.partition("?")[0].split("/")
            stub.requests.append(f"POST {self.path}")
            found = stub.containers.get(path[2])
            wanted = {"start": "running", "stop": "exited", "restart": "running"}[path[3]]
            if found is None or stub.refuses:
                self.send_response(404 if found is None else 500)
                self.end_headers()
                self.wfile.write(json.dumps({"message": stub.refuses}).encode())
                return
            same = path[3] != "restart" and found["State"] == wanted
            found["State"] = wanted
            self.send_response(304 if same else 204)
            self.end_headers()

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    class Server(ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_args: object) -> None:
            """Ignore clients that go."""

    server = Server(str(socket), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":  # SOCKET NUMBER: run with this number of containers until standard input ends
    with docker_stub(Path(argv[1])) as running:
        for number in range(int(argv[2])):
            running.put(f"container-{number}")
        print("ready", flush=True)
        stdin.read()
