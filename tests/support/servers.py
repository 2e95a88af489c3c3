"""Real servers as children of the test, on free ports, with configurations and data directories of their own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def require_program(name: str, package: str) -> str:
    """The path of a program. When it is missing: fail in CI, skip elsewhere, with the line that installs it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        message = f"{name} is missing: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def require_chromium() -> str:
    """The path of Chromium: of its headless shell, which takes a quarter less time, where that is installed."""
    return shutil.which("chromium-headless-shell") or require_program("chromium", "chromium-headless-shell")


def require_module_of_node(name: str) -> str:
    """The path of node, with this module installed beside `connect.js`. Missing: as in `require_program`."""
    node = require_program("node", "nodejs npm")
    if not (Path(__file__).parent / "node" / "node_modules" / name).is_dir():
        message = f"{name} for node is missing: run npm ci in tests/support/node"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return node


def stop(process: subprocess.Popen[bytes], *, seconds: float = 10.0) -> None:
    """End a child politely, then by force, and reap it."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def mosquitto(directory: Path, *, port: int | None = None, lines: str = "allow_anonymous true") -> Iterator[int]:
    """A Mosquitto on loopback with these configuration lines; yields its port."""
    program = require_program("mosquitto", "mosquitto")
    port = port or free_port()
    configuration = directory / f"mosquitto-{port}.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\npersistence false\nuser root\n{lines}\n")
    with (directory / f"mosquitto-{port}.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(configuration)], stdout=log, stderr=log)
    try:
        wait_until(lambda: listens(port) or process.poll() is not None, what="Mosquitto listening")
        assert process.poll() is None, "Mosquitto ended at once"
        yield port
    finally:
        stop(process)


class Postgresql:
    """A PostgreSQL on loopback, as a direct child, with a data directory of its own. `kill` it and `start` it again.

    Without `durable` it does not wait for the disk, for tests that neither measure it nor kill the server.
    """

    def __init__(self, *, port: int | None = None, durable: bool = True) -> None:
        self.port = port or free_port()
        self._durable = durable
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self._programs = _postgresql_programs()
        self._account = "postgres" if os.geteuid() == 0 else None  # it refuses root
        self._directory = Path(tempfile.mkdtemp(prefix="dashfleet-postgresql-"))
        if self._account is not None:
            shutil.chown(self._directory, self._account, self._account)
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb",
            "--pgdata",
            str(self._data),
            "--username",
            "postgres",
            "--auth",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        )

    def start(self) -> None:
        """Start, and wait until it takes queries. What a killed one left behind takes a moment to go."""
        deadline = time.monotonic() + 30
        while True:
            self._process = self._spawn()
            while self._process.poll() is None and time.monotonic() < deadline:
                if self._takes_queries():
                    return
                time.sleep(0.05)
            if time.monotonic() >= deadline:
                self.kill()
                pytest.fail(f"PostgreSQL does not start: {(self._directory / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def processor_seconds(self) -> float:
        """What it and its children have used of the processors so far."""
        import psutil

        assert self._process is not None
        server = psutil.Process(self._process.pid)
        times = [process.cpu_times() for process in (server, *server.children())]
        return float(sum(spent.user + spent.system for spent in times))

    def kill(self) -> None:
        """SIGKILL; its own children notice and leave."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Stop it without waiting for its clients."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(30)

    def remove(self) -> None:
        """Stop it and delete its data."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def _takes_queries(self) -> bool:
        import psycopg

        try:
            psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        if not self._durable:
            options["fsync"] = "off"
        argv = [str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log, cwd=self._directory, **self._as_account())

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._directory,
            **self._as_account(),
        )

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account, "group": self._account, "extra_groups": []}


@contextmanager
def postgresql(*, durable: bool = True) -> Iterator[str]:
    """A PostgreSQL of its own; yields its SQLAlchemy URL."""
    server = Postgresql(durable=durable)
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


def _postgresql_programs() -> Path:
    """The directory of PostgreSQL's programs; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else Path(require_program("postgres", "postgresql")).parent
