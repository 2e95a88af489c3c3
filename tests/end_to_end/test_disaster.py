"""A server is lost and restored from its archive elsewhere: agents, people and actions are back, revocations hold."""

import json
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from servers import free_port, stop
from waiting import wait_until

ORGS = ("home", "acme")
AGENTS_PER_ORG = 2
READY_SECONDS = 90.0


@dataclass
class Server:
    """A server with TLS, at the same ports wherever its state directory is."""

    broker_port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"mqtts://localhost:{self.broker_port}"

    def start(self, data: Path) -> "subprocess.Popen[bytes]":
        words = ("up", "--no-agent", "--listen", "127.0.0.1", "--broker-port", str(self.broker_port))
        process = start(data, *words, "--dashboard-port", str(self.dashboard_port), said=self.said)
        known = len(self.said)
        wait_until(
            lambda: any("Press Ctrl-C" in line for line in self.said[known:]) or process.poll() is not None,
            seconds=READY_SECONDS,
            what="the server",
        )
        assert process.poll() is None, self.said
        return process

    def signs_in(self, name: str, password: str) -> bool:
        url = f"http://127.0.0.1:{self.dashboard_port}"
        form = urllib.parse.urlencode({"name": name, "password": password}).encode()
        request = urllib.request.Request(f"{url}/sign-in", form, {"origin": url})  # noqa: S310 - our own
        opener = urllib.request.build_opener(NoRedirect)
        try:
            with opener.open(request, timeout=60) as answer:
                return "set-cookie" in answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 303 and "set-cookie" in error.headers


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows redirects instead of following them."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - urllib's
        return None


def dashfleet(data: Path, *words: str, typed: str | None = None, expected: int = 0) -> str:
    argv = [sys.executable, "-m", "dashfleet", *words, "--data", str(data)]
    done = subprocess.run(argv, input=typed, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + (done.stderr if words[0] == "restore" else "")


def start(data: Path, *words: str, said: list[str]) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-m", "dashfleet", *words, "--data", str(data)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    threading.Thread(target=_listen, args=(process, said), daemon=True).start()
    return process


def _listen(process: "subprocess.Popen[bytes]", said: list[str]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        said.extend(line.decode(errors="replace").rstrip() for line in lines)


def presence(data: Path) -> dict[str, str]:
    listed = json.loads(dashfleet(data, "machines", "--json"))
    return {f"{row['org']}/{row['machine']}": row["presence"] if row["verified"] else "?" for row in listed}


def enrolled_agents(root: Path, data: Path, server: Server) -> dict[str, Path]:
    """Enrol the agents of all organisations; return their state directories by their names."""
    found = {}
    for org in ORGS:
        token = dashfleet(data, "token", "create", "--org", org, "--uses", str(AGENTS_PER_ORG + 1))
        for number in range(AGENTS_PER_ORG + 1):
            name, own = f"{org}-{number}", root / f"{org}-{number}"
            trust = ("--server", server.url, "--ca-file", str(data / "tls" / "ca.pem"))
            dashfleet(own, "agent", "enrol", "--machine", name, *trust, typed=token)
            found[f"{org}/{name}"] = own
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_lost_server_is_restored_elsewhere(tmp_path: Path, stack: ExitStack) -> None:
    server, old, new, archive = Server(), tmp_path / "old", tmp_path / "new", tmp_path / "server.tar"
    dashfleet(old, "tls", "localhost")
    running = server.start(old)
    stack.callback(lambda: stop(running, seconds=40))
    dashfleet(old, "org", "add", "acme")
    dashfleet(old, "key", "create", "--org", "acme")
    password = dashfleet(old, "user", "add", "ada", "--org", "acme", "--role", "operator", "--generate").strip()
    agents = enrolled_agents(tmp_path, old, server)
    for own in agents.values():
        stack.callback(stop, start(own, "agent", "--interval", "1", said=[]), seconds=40)
    wait_until(lambda: set(presence(old).values()) == {"online"}, seconds=60, what="all agents online")
    early, late = "home/home-2", "acme/acme-2"
    dashfleet(old, "principal", "revoke", early.replace("/", "."))
    dashfleet(old, "backup", str(archive))
    dashfleet(old, "principal", "revoke", late.replace("/", "."))
    stop(running, seconds=40)
    shutil.rmtree(old)

    told = dashfleet(new, "restore", str(archive), "--server", f"mqtts://127.0.0.1:{server.broker_port}")
    listed = {line.strip() for line in told.splitlines() if line.startswith("    ")}
    assert late.replace("/", ".") in listed
    assert early.replace("/", ".") not in listed
    dashfleet(new, "principal", "revoke", late.replace("/", "."))
    dashfleet(new, "tls", "localhost", "new.example.org", "--renew")
    stack.callback(stop, server.start(new), seconds=40)

    expected = {name: "retired" if name in (early, late) else "online" for name in agents}
    wait_until(lambda: presence(new) == expected, seconds=90, what=f"{expected}, not {presence(new)}")
    assert server.signs_in("ada", password)
    assert not server.signs_in("ada", "wrong horse battery")
    done = dashfleet(new, "act", "ping", "home-0", "home-1", "--wait", "--timeout", "60s", "--yes", "--json")
    assert {command["state"] for command in json.loads(done)} == {"succeeded"}
