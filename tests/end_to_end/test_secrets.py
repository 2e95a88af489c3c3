"""Secrets occur only where they belong: all parts run, a machine enrols, and all files and output are searched."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from servers import free_port, stop
from service_stubs import http_stub
from waiting import wait_until

from runtime.urls import sqlite_url
from schemas.contract.enrolment import Token
from schemas.people.deliveries import queue_test, waiting_destinations
from schemas.people.destinations import list_destinations
from schemas.people.people_store import open_people_store

READY_SECONDS = 90.0
DESTINATION_TOKEN, DESTINATION_PASSWORD = "zT0k3nOfADestination7Kq", "zPassw0rdOfADestination"
DATABASES = ("*.db", "*.db-wal")


@dataclass
class Running:
    """`dashfleet up` and a second, enrolled machine. `secrets` has every secret by its purpose."""

    server: Path
    machine: Path
    dashboard_port: int
    said: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    password: str = ""

    @property
    def output(self) -> str:
        """The output without the line that shows the first password."""
        return "\n".join(line.replace(self.password, "") for line in self.said)


def dashfleet(*arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "dashfleet", *arguments]
    return subprocess.run(argv, input=typed, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    found = Running(tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("machine"), free_port())
    broker_port = free_port()
    argv = [sys.executable, "-m", "dashfleet", "up", "--data", str(found.server), "--interval", "1",
            "--broker-port", str(broker_port), "--dashboard-port", str(found.dashboard_port)]  # fmt: skip
    environment = {
        **os.environ,
        **{f"DASHFLEET_{part}_LOG_LEVEL": "debug" for part in ("BROKER", "INGESTOR", "NOTIFIER", "AGENT")},
    }
    up = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    agent: subprocess.Popen[bytes] | None = None
    threads = [threading.Thread(target=_listen, args=(up, found.said), daemon=True)]
    threads[0].start()
    try:
        wait_until(lambda: "Press Ctrl-C" in "\n".join(found.said), seconds=READY_SECONDS, what="dashfleet up")
        agent = _enrol(found, f"mqtt://127.0.0.1:{broker_port}", environment)
        threads.append(threading.Thread(target=_listen, args=(agent, found.said), daemon=True))
        threads[1].start()
        wait_until(lambda: _online(found) == 2, seconds=60, what="both machines online")
        yield found
    finally:
        for process in (agent, up):
            if process is not None:
                stop(process, seconds=40)
        for thread in threads:
            thread.join(10)
        for process in (agent, up):
            if process is not None and process.stdout is not None:
                process.stdout.close()


def _enrol(found: Running, server: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Enrol a machine with a token, start its agent, and record all secrets."""
    printed = dashfleet("token", "create", "--data", str(found.server))
    token = Token.parse(printed.stdout)
    program = dashfleet("principal", "add", "grafana", "--role", "reader", "--data", str(found.server))
    rotated = dashfleet("principal", "rotate", "home._grafana", "--data", str(found.server))
    done = dashfleet("agent", "enrol", "--data", str(found.machine), "--server", server, typed=printed.stdout)
    _add_destinations(found)
    found.said += [printed.stderr, program.stderr, rotated.stderr, done.stdout, done.stderr]
    assert "with the password in" in "\n".join(found.said)
    found.password = (found.server / "secrets" / "first-password").read_text().strip()
    found.secrets = {
        "the first password": found.password,
        "the token": token.secret,
        "a program's secret": program.stdout.strip(),
        "a rotated secret": rotated.stdout.strip(),
        "the token of a destination": DESTINATION_TOKEN,
        "the password of a destination": DESTINATION_PASSWORD,
        **{str(path): secret for data in (found.server, found.machine) for path, secret in _kept(data / "secrets")},
    }
    argv = [sys.executable, "-m", "dashfleet", "agent", "--data", str(found.machine)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _add_destinations(found: Running) -> None:
    """Add destinations, and have the command and the notifier send to them."""
    with http_stub() as stub:
        reachable = f"json://ada:{DESTINATION_PASSWORD}@127.0.0.1:{stub.port}/{DESTINATION_TOKEN}"
        hook = f"http://ada:{DESTINATION_PASSWORD}@127.0.0.1:{stub.port}/{DESTINATION_TOKEN}"
        for name, url in (("json", reachable), ("hook", hook)):
            added = dashfleet(
                "notify", "add", name, "-", "--allow-private", "--data", str(found.server), typed=url + "\n"
            )
            tested = dashfleet("notify", "test", name, "--data", str(found.server))
            found.said += [added.stdout, added.stderr, tested.stdout, tested.stderr]
        people = open_people_store(sqlite_url(found.server / "people.db"))
        for to in list_destinations(people):
            assert queue_test(people, to, by="ada", now=0)
        wait_until(lambda: not waiting_destinations(people), what="the notifier")
        people.dispose()
        assert len(stub.received) == 4
    for command in (["list"], ["list", "--json"], ["log", "--json"]):
        found.said.append(dashfleet("notify", *command, "--data", str(found.server)).stdout)


def _kept(directory: Path) -> list[tuple[Path, str]]:
    """Return the secrets in files: whole credentials, or every long word of other files."""
    words = [
        (path, word)
        for path in directory.rglob("*")
        if path.is_file()
        for word in re.findall(r"[A-Za-z0-9_-]{40,}", path.read_text())
    ]
    return [(path / str(number), word) for number, (path, word) in enumerate(words)]


def _online(found: Running) -> int:
    listed = json.loads(dashfleet("machines", "--json", "--data", str(found.server)).stdout)
    return sum(row["presence"] == "online" for row in listed)


def _listen(process: subprocess.Popen[bytes], said: list[str]) -> None:
    said.extend(line.decode(errors="replace").rstrip() for line in process.stdout or ())


def shown_in(running: Running, text: bytes) -> list[str]:
    """Return the names of the secrets that occur in the text."""
    return [name for name, secret in running.secrets.items() if secret.encode() in text]


def test_there_is_something_to_look_for(running: Running) -> None:
    names = " ".join(running.secrets)
    assert all(part in names for part in ("ingestor", "notifier", "agent", "watch", "dashboard", "signing"))
    assert shown_in(running, f"x{running.secrets['the token']}x".encode()) == ["the token"]


def test_no_process_shows_a_secret_in_its_arguments(running: Running) -> None:
    lines = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines[int(path.parent.name)] = path.read_bytes()
        except OSError:
            continue  # the process has ended
    (up,) = [number for number, line in lines.items() if b"\0up\0" in line and str(running.server).encode() in line]
    parts = {child.pid for child in psutil.Process(up).children()}
    assert len(parts & lines.keys()) >= 5
    assert shown_in(running, b"\n".join(lines.values())) == []


def test_no_page_shows_a_secret(running: Running) -> None:
    for path in ("/", "/nothing-here", "/machine?id=%00", "/_stcore/nothing"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{running.dashboard_port}{path}", timeout=60) as answer:
                page = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                page = error.read()
        assert shown_in(running, page) == []


def test_no_log_and_no_output_holds_a_secret(running: Running) -> None:
    logs = list((running.server / "logs").iterdir())
    assert {"broker.log", "ingestor.log", "notifier.log", "agent.log"} <= {path.name for path in logs}
    assert shown_in(running, b"\n".join(path.read_bytes() for path in logs)) == []
    assert shown_in(running, running.output.encode()) == []


def test_no_database_holds_a_secret(running: Running) -> None:
    files = [path for data in (running.server, running.machine) for kind in DATABASES for path in data.rglob(kind)]
    assert {"dashfleet.db", "people.db", "outbox.db"} <= {path.name for path in files}
    for path in files:
        assert shown_in(running, path.read_bytes()) == [], path


def test_a_secret_is_in_its_own_file_and_in_no_other(running: Running) -> None:
    for data in (running.server, running.machine):
        others = [path for path in data.rglob("*") if path.is_file() and "secrets" not in path.parts]
        for path in others:
            assert shown_in(running, path.read_bytes()) == [], path
