"""The parts of `docker-compose.yml` without containers: Mosquitto with TLS, PostgreSQL, ingestor, agent, dashboard."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest
from servers import free_port, postgresql, require_program, stop
from waiting import wait_until


@dataclass
class Site:
    """A state directory, a database, and running parts."""

    data: Path
    database: str
    broker_port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    stack: ExitStack = field(default_factory=ExitStack)
    said: dict[str, list[str]] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        urls = {f"DASHFLEET_{part}_DATABASE": self.database for part in ("INGESTOR", "MOSQUITTO", "DASHBOARD")}
        program = require_program("mosquitto", "mosquitto")
        return {**os.environ, **urls, "DASHFLEET_DATA": str(self.data), "DASHFLEET_MOSQUITTO_PROGRAM": program}

    def run(self, *words: str, expected: int = 0) -> str:
        """Run a command; return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "dashfleet", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a part, which is stopped at the end of the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "dashfleet", *words],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        lines = self.said.setdefault(words[0], [])
        reader = threading.Thread(target=self._listen, args=(process, lines), daemon=True)
        reader.start()
        self.stack.callback(reader.join, 10)
        self.stack.callback(stop, process)
        return process

    def wait_until_ready(self, part: str) -> None:
        wait_until(lambda: any("ready: " in line for line in self.said[part]), seconds=40, what=f"{part} is ready")

    def _listen(self, process: "subprocess.Popen[bytes]", lines: list[str]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            lines.extend(line.decode(errors="replace").rstrip() for line in output)

    def machine(self) -> dict[str, object]:
        """The machine as `dashfleet machines --json` lists it."""
        (machine,) = json.loads(self.run("machines", "--json"))
        assert isinstance(machine, dict)
        return machine

    def stored(self) -> int:
        ledger = self.machine()["ledger"]
        assert isinstance(ledger, dict)
        return int(ledger["stored"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with postgresql() as url:
        here = Site(tmp_path / "state", url)
        with here.stack:
            yield here


def test_a_sample_goes_from_an_agent_over_mosquitto_with_tls_into_postgresql(site: Site) -> None:
    server = f"mqtts://localhost:{site.broker_port}"
    site.run("tls", "localhost")
    site.run("setup", "--server", server, "--machine", "attic")
    assert "no ingestor has run yet" in site.run("heartbeat", expected=1)

    tls = site.data / "tls"
    certificate = ["--certificate", str(tls / "server.pem"), "--private-key", str(tls / "server.key")]
    broker = ["mosquitto", "--bind", "127.0.0.1", "--port", str(site.broker_port), *certificate]
    mosquitto = site.start(*broker)
    site.wait_until_ready("mosquitto")
    ingestor = site.start("ingestor")
    site.wait_until_ready("ingestor")
    wait_until(lambda: site.run("heartbeat") if healthy(site) else "", seconds=30, what="the ingestor hears")
    site.start("agent", "--interval", "1")
    wait_until(lambda: site.stored() > 0, seconds=40, what="a sample is stored")
    assert site.machine()["presence"] == "online"

    site.start("dashboard", "--port", str(site.dashboard_port))
    site.wait_until_ready("dashboard")
    with urlopen(f"http://127.0.0.1:{site.dashboard_port}/readyz", timeout=60) as answer:
        assert answer.status == 200

    stop(mosquitto)
    mosquitto = site.start(*broker)
    before = site.stored()
    wait_until(lambda: site.stored() > before, seconds=60, what="samples are stored after Mosquitto came back")

    site.run("principal", "revoke", "home.attic")
    wait_until(lambda: site.machine()["presence"] == "retired", seconds=60, what="the revoked machine is retired")
    assert ingestor.poll() is None
    assert mosquitto.poll() is None


def healthy(site: Site) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "dashfleet", "heartbeat"],
        env=site.environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0


def test_setting_up_again_changes_nothing(site: Site) -> None:
    site.run("setup", "--machine", "attic")
    before = {path: path.read_bytes() for path in site.data.rglob("*") if path.is_file()}
    assert {path.stat().st_mode & 0o077 for path in before} == {0}
    site.run("setup", "--machine", "attic")
    assert {path: path.read_bytes() for path in site.data.rglob("*") if path.is_file()} == before
