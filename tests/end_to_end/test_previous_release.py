"""The previous release's agents work with this version's server, and the other way round.

The wheel of the previous release is built from the history of this repository; a checkout without history, such as
that of an archive, skips these tests. `tests/schemas/contract/golden` has what older versions sent, in any checkout.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from faults.processes import Process
from servers import free_port
from waiting import wait_until

ROOT = Path(__file__).parents[2]
PREVIOUS = "bc676805f96a"
"""The last commit of version 0.1.0, which has no tag."""

Environment = Mapping[str, str]
THIS: Environment = {}


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Build the wheel of the previous release and unpack it; return the environment in which its program runs."""
    if not shutil.which("git") or git("cat-file", "-e", f"{PREVIOUS}^{{commit}}").returncode:
        pytest.skip("this checkout has no history to build the previous release from")
    pytest.importorskip("hatchling")
    directory = tmp_path_factory.mktemp("previous")
    archive = directory / "source.zip"
    archive.write_bytes(git("archive", "--format=zip", PREVIOUS).stdout)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(directory / "source")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)],
        cwd=directory / "source",
        capture_output=True,
        check=True,
        timeout=60,
    )
    (wheel,) = directory.glob("*.whl")
    assert wheel.name.startswith("dashfleet-0.1.0-")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(directory / "installed")
    return {"PYTHONPATH": str(directory / "installed")}


class Installation:
    """Programs of two versions: a server with a broker and an ingestor, and an agent."""

    def __init__(self, directory: Path, server: Environment, agent: Environment) -> None:
        self._directory, self._server, self._agent = directory, server, agent
        self._stack = ExitStack()
        port = free_port()
        self._url = f"mqtt://127.0.0.1:{port}"
        self.run("setup", server)
        self._start("broker", server, "--port", str(port))
        self._start("ingestor", server, "--server", self._url)

    def run(self, command: str, environment: Environment, *words: str, typed: str = "") -> str:
        """Run a command to its end and return its output."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "dashfleet", *command.split(), *self._data(environment), *words],
            cwd=self._directory,
            env={**os.environ, "DASHFLEET_DATA": str(self._directory / "server"), **environment},
            input=typed,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def enrol(self) -> None:
        """Enrol the machine `attic` and start its agent."""
        token = self.run("token create", self._server)
        words = ("--server", self._url, "--machine", "attic")
        self._start("agent", self._agent, "--interval", "0.5", enrol=(token, words))

    def act(self, *words: str) -> None:
        self.run("act", self._server, *words, "--server", self._url)

    @property
    def stored(self) -> int:
        """Number of samples in the database, whose other tables differ between versions."""
        with closing(sqlite3.connect(self._directory / "server" / "dashfleet.db")) as database:
            return int(database.execute("SELECT count(*) FROM sample").fetchone()[0])

    def dead_letters(self) -> int:
        with closing(sqlite3.connect(self._directory / "server" / "dashfleet.db")) as database:
            return int(database.execute("SELECT count(*) FROM dead_letter").fetchone()[0])

    def machines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run("machines", self._server, "--json"))
        return found

    def stop(self) -> None:
        self._stack.close()

    def _data(self, environment: Environment) -> tuple[str, ...]:
        return ("--data", environment["DASHFLEET_DATA"]) if "DASHFLEET_DATA" in environment else ()

    def _start(
        self, part: str, environment: Environment, *words: str, enrol: tuple[str, tuple[str, ...]] | None = None
    ) -> None:
        place = self._directory / ("machine" if enrol else "server")
        own = {**environment, "DASHFLEET_DATA": str(place)}
        if enrol:
            self.run("agent enrol", own, *enrol[1], typed=enrol[0])
        process = Process(
            part,
            [sys.executable, "-P", "-m", "dashfleet", part, *words],
            ready="ready: ",
            log=self._directory / f"{part}.log",
            environment=own,
        )
        self._stack.callback(process.stop)
        process.start()


@pytest.fixture(params=["the agent", "the server"])
def installation(request: pytest.FixtureRequest, tmp_path: Path, previous: Environment) -> Iterator[Installation]:
    """An agent or a server of the previous release, and the other part of this version."""
    server, agent = (THIS, previous) if request.param == "the agent" else (previous, THIS)
    made = Installation(tmp_path, server, agent)
    yield made
    made.stop()


def test_a_machine_enrols_reports_and_executes_orders_across_versions(installation: Installation) -> None:
    installation.enrol()

    wait_until(lambda: installation.stored >= 3, seconds=60, what="samples of the machine")
    installation.act("ping", "attic", "--wait", "--timeout", "60s")

    (machine,) = installation.machines()
    assert (machine["machine"], machine["presence"], machine["verified"]) == ("attic", "online", True)
    ledger = machine["ledger"]
    assert (ledger["lost"], ledger["dropped"]) == (0, 0)
    assert installation.dead_letters() == 0
