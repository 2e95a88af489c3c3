"""The programs in `examples/` follow the contract: `dashfleet conform` passes them.

They run at the same time, as most of a run is waiting.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brokers import embedded_broker
from command_line import dashfleet
from servers import require_module_of_node, require_program
from sqlalchemy import Engine

from broker.access.principals import TableDirectory
from ingestor.admin.access import list_principals
from runtime.state_directory import StateDirectory
from schemas.database.engine import open_engine
from schemas.database.queries.machines import list_machines

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NODE_MODULES = Path(__file__).parents[1] / "support" / "node" / "node_modules"
GO_PATH = Path("/usr/share/gocode")
PAHO_GO = GO_PATH / "src" / "github.com" / "eclipse" / "paho.mqtt.golang"

PROGRAMS = {
    "python agent": "python/agent.py",
    "node agent": "node/agent.js",
    "go agent": "go/agent",
    "python consumer": "python/consumer.py",
    "python actor": "python/actor.py",
    "own consumer": "python/own_consumer.py",
    "own actor": "python/own_actor.py",
    "node consumer": "node/consumer.js",
    "node actor": "node/actor.js",
    "go consumer": "go/consumer",
    "go actor": "go/actor",
    "shell consumer": "shell/consumer.sh",
}

IN_A_BROWSER = "web/fleet.js"
"""What `tests/browser/test_example_page.py` runs."""


def build_go(place: Path) -> Path:
    """Compile all Go programs; return their folder."""
    go = require_program("go", "golang-go")
    if not PAHO_GO.is_dir():
        require_program("paho.mqtt.golang", "golang-github-eclipse-paho.mqtt.golang-dev")
    source = place / "src" / "examples"
    source.parent.mkdir(parents=True)
    source.symlink_to(EXAMPLES / "go")
    environment = {"GO111MODULE": "off", "GOPATH": f"{place}:{GO_PATH}", "GOCACHE": str(place / "cache"), "GOFLAGS": ""}
    programs = [f"examples/{name.partition('/')[2]}" for name in PROGRAMS.values() if name.startswith("go/")]
    subprocess.run(
        [go, "build", "-o", f"{place / 'bin'}/", *programs],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        timeout=180,
        cwd=place,
    )
    return place / "bin"


SHORT_TIMES = {"DASHFLEET_INTERVAL_SECONDS": "0.2", "DASHFLEET_RESEND_SECONDS": "1"}


@dataclass
class Site:
    """A server with an embedded broker, on which one agent is checked: two runs on one server end each other."""

    data: Path
    server: str
    engine: Engine

    def options(self) -> list[str]:
        """Return the options of the run against the agent."""
        return ["--data", str(self.data), "--server", self.server]

    def names(self) -> set[str]:
        """Return all machines and user names."""
        machines = {row["machine"] for row in list_machines(self.engine)}
        return machines | {row["username"] for row in list_principals(self.engine)}


@contextmanager
def sites(place: Path) -> Iterator[dict[str, Site]]:
    """Set up a server for each agent; yield them by the name of the agent."""
    first, found = place / "server", {}
    assert dashfleet("setup", "--data", str(first)).returncode == 0
    with ExitStack() as stack:
        for name in [name for name in PROGRAMS if name.endswith(" agent")]:
            own = place / name.replace(" ", "-")
            shutil.copytree(first, own)
            engine = open_engine(StateDirectory(own).database_url)
            stack.callback(engine.dispose)
            broker = stack.enter_context(embedded_broker({}, directory=TableDirectory(engine)))
            found[name] = Site(own, f"mqtt://127.0.0.1:{broker.port}", engine)
        yield found


def conform(name: str, argv: list[str], agent: Site | None) -> dict[str, Any]:
    words, settings = ["conform", name.split()[1], "--json", "--patience", "40"], {}
    known = agent.names() if agent is not None else set()
    if agent is not None:
        words, settings = [*words, "--quiet", "6", *agent.options()], SHORT_TIMES
    done = subprocess.run(
        [sys.executable, "-m", "dashfleet", *words, "--", *argv],
        env={**os.environ, "NODE_PATH": str(NODE_MODULES), "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr[-2000:]
    left = agent.names() - known if agent is not None else set()
    return {**json.loads(done.stdout), "status": done.returncode, "errors": done.stderr[-2000:], "left": left}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[dict[str, Any]]]:
    """The reports of all programs, which run at the same time."""
    built = build_go(tmp_path_factory.mktemp("go"))
    node = require_module_of_node("mqtt")
    require_program("jq", "jq")
    require_program("mosquitto_sub", "mosquitto-clients")
    starts = {".py": [sys.executable], ".js": [node], ".sh": ["sh"]}

    def argv(program: str) -> list[str]:
        start = starts.get(Path(program).suffix)
        return [*start, str(EXAMPLES / program)] if start else [str(built / Path(program).name)]

    with sites(tmp_path_factory.mktemp("sites")) as agents, ThreadPoolExecutor(len(PROGRAMS)) as pool:
        return {name: pool.submit(conform, name, argv(program), agents.get(name)) for name, program in PROGRAMS.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_passes_every_assertion(reports: dict[str, Future[dict[str, Any]]], name: str) -> None:
    report = reports[name].result()
    wrong = [
        (each["id"], each["result"], each["detail"]) for each in report["assertions"] if each["result"] != "passed"
    ]
    assert wrong == [], report["errors"]
    assert report["status"] == 0
    assert report["left"] == set(), "the machine and the credentials of the run are removed"


def test_every_program_of_the_examples_is_run() -> None:
    written = {
        str((path.parent if path.suffix == ".go" else path).relative_to(EXAMPLES))
        for path in EXAMPLES.rglob("*")
        if path.name not in ("connection.js", "connection.go") and path.suffix in (".py", ".js", ".sh", ".go")
    }
    assert written == {*PROGRAMS.values(), IN_A_BROWSER}


def test_the_lock_of_the_node_examples_names_no_registry() -> None:
    lock = json.loads((EXAMPLES / "node" / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    wanted = json.loads((EXAMPLES / "node" / "package.json").read_text())["dependencies"]
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
