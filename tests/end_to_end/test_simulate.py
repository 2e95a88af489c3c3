"""`dashfleet simulate` against a real broker and ingestor: its summary is what the database says."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from command_line import dashfleet, refusal
from sites import Site, now, site
from sqlalchemy import Engine, func, select
from waiting import wait_until

from ingestor.admin.access import add_org, insert_machine
from schemas.database.tables import machine, org, sample, transition

FAULTS = {
    "loss": "10",
    "cuts": "300",
    "cut-seconds": "0.5",
    "restarts": "300",
    "reboots": "300",
    "delay": "0.1",
    "clock-error": "20",
    "backlog": "20",
}


@pytest.fixture
def server(database: Engine) -> Iterator[Site]:
    with site(database, "home") as running:
        yield running


def simulate(server: Site, *options: str) -> dict[str, float]:
    where = ("--server", server.server, "--database", str(server.engine.url))
    done = dashfleet("simulate", *where, "--json", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, float] = json.loads(done.stdout)
    return summary


@contextmanager
def simulation(server: Site, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A simulation without end."""
    argv = ["simulate", "--machines", "2", "--interval", "0.5", "--duration", "24h", "--json", *options]
    argv += ["--server", server.server, "--database", str(server.engine.url)]
    process = subprocess.Popen([sys.executable, "-m", "dashfleet", *argv], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stored(engine: Engine) -> int:
    mine = select(machine.c.id).join(org).where(org.c.name == "simulation")
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(sample).where(sample.c.machine_id.in_(mine))) or 0


def test_every_sample_is_accounted_for_under_every_fault(server: Site) -> None:
    faults = [part for name, value in FAULTS.items() for part in ("--fault", f"{name}={value}")]
    told = simulate(server, "--machines", "8", "--interval", "0.5", "--duration", "6", "--processes", "2", *faults)
    assert told["machines"] == 8
    assert told["taken"] >= 8 * (40 + 8)
    assert min(told[name] for name in ("cuts", "restarts", "reboots", "lost_messages")) > 0
    assert told["acknowledged"] == told["taken"] == stored(server.engine)
    assert told["connections"] > 8


def test_simulated_machines_say_goodbye_and_can_be_simulated_again(server: Site) -> None:
    options = ("--machines", "3", "--interval", "0.5", "--duration", "2")
    simulate(server, *options)
    last = select(transition.c.reason).order_by(transition.c.id.desc()).limit(3)
    with server.engine.connect() as connection:
        wait_until(lambda: list(connection.scalars(last)) == ["stopped"] * 3, seconds=60)
    before = stored(server.engine)
    simulate(server, *options)
    assert stored(server.engine) > before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_simulation_that_is_stopped_says_goodbye_and_prints_its_summary(server: Site, number: int) -> None:
    with simulation(server, "--processes", "2") as process:
        wait_until(lambda: stored(server.engine) >= 4, what="samples")
        process.send_signal(number)
        told = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 0
    assert told["acknowledged"] == told["taken"] == stored(server.engine)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the processes in /proc")
def test_the_processes_of_a_simulation_that_is_killed_end(server: Site) -> None:
    with simulation(server, "--processes", "2") as process:
        wait_until(lambda: stored(server.engine) >= 4, what="samples")
        children = psutil.Process(process.pid).children()
        process.kill()
    assert len(children) == 2
    wait_until(lambda: not any(child.is_running() for child in children), what="the end of the processes")


def test_no_real_machine_loses_its_credential_to_a_simulation(database: Engine) -> None:
    add_org(database, "acme", now=now)
    with database.begin() as connection:
        insert_machine(connection, "acme", "sim-00001", 1)
        connection.execute(machine.update().values(agent_version="0.2.0", labels={"site": "lyon"}))
    told = refusal("simulate", "--machines", "1", "--org", "acme", "--database", str(database.url))
    assert "the organisation acme has real machines, such as sim-00001" in told


@pytest.mark.parametrize(
    ("given", "said"), [("loss", "write NAME=NUMBER"), ("x=1", "one of loss"), ("loss=99", "range")]
)
def test_a_fault_that_cannot_be_read_is_refused(database: Engine, given: str, said: str) -> None:
    assert said in refusal("simulate", "--machines", "1", "--fault", given, "--database", str(database.url))
