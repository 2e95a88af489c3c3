"""Machines whose agent is a process of an installation that can be updated, with a real broker and ingestor."""

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acting import Operator
from environments import make_environment
from sites import Site, site
from sqlalchemy import Engine, select
from waiting import wait_until

from agent.connection_record import read_connection
from agent.installation import environment
from agent.orders.journal import create_before_keys
from agent.orders.trusted_keys import KEYS_FILE, write_keys
from agent.service import CURRENT
from agent.updates.update_record import read_update
from broker.access.credentials import new_secret
from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Message
from ingestor.admin.access import add_principal
from ingestor.files.file_rates import FileRates
from ingestor.files.file_server import FileServer
from ingestor.files.file_store import BundleStore
from ingestor.files.machine_files import MachineFiles
from runtime.bundle.manifest import BundleFile, Manifest
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from runtime.settings.secret_files import write_secret
from runtime.state_directory import StateDirectory
from runtime.version import VERSION
from schemas.contract import topics
from schemas.contract.commands import CommandMessage, Result
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.messages import Signed
from schemas.contract.signing import public_key
from schemas.database import tables
from schemas.fleet.ranges import Ranges

SECONDS = 60.0


class InstalledMachine:
    """A machine with an installation of the old version, and the bundles of new ones, whose environments exist."""

    def __init__(
        self, directory: Path, server: Site, engine: Engine, name: str, operator: Operator | None = None
    ) -> None:
        self.data, self.prefix, self.bundle = directory / "data", directory / "opt", directory / "bundle"
        self.engine, self.name = engine, name
        self.old = make_environment(self.prefix, VERSION)
        environment.switch(self.prefix, self.old)
        secret, clock = new_secret(), SystemClock()
        add_principal(engine, Principal(Role.MACHINE, "home", name), secret, now=clock.now)
        state = StateDirectory(self.data)
        write_secret(state.secret("agent"), secret)
        (self.data / "agent").mkdir()
        state.enrol({"server": server.server, "org": "home", "machine": name})
        self.operator = operator or Operator(clock)
        create_before_keys(self.data / "agent", clock)
        key = EnrolledKey(public_key=public_key(self.operator.seed))
        write_keys(self.data / "agent" / KEYS_FILE, "home", [key])
        self.process: subprocess.Popen[bytes] | None = None
        commander = Principal(Role.INGESTOR, "", f"ingestor-{name}")
        add_principal(engine, commander, secret, now=clock.now)
        self._commander = Mqtt(
            ServerAddress.parse(server.server),
            username=commander.username,
            password=secret,
            subscriptions=[(topics.RESULT.at(org="home", machine=name), 1)],
        )
        self.results: list[Result] = []

    def start(self) -> None:
        """Start what the service starts."""
        program = environment.program(self.prefix / CURRENT)
        with (self.data / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "agent", "--data", self.data],
                env={**os.environ, "DASHFLEET_AGENT_INTERVAL_SECONDS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def cut_power(self) -> None:
        """Kill the agent and all that it has started, at once."""
        if self.process is None:
            return
        groups = {os.getpgid(pid) for pid in _descendants(self.process.pid)}
        for group in groups:
            os.killpg(group, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        self.cut_power()
        self._commander.close()

    @property
    def runs(self) -> str:
        """The version that is connected and whose sample was acknowledged."""
        state = read_connection(self.data)
        healthy = state is not None and state.connected and state.acknowledged and state.is_running
        return state.version if state is not None and healthy else ""

    def wait_until_runs(self, version: str) -> None:
        wait_until(lambda: self.runs == version, seconds=SECONDS, what=f"version {version} of {self.name}")

    def publish_bundle(self, version: str, fault: str = "") -> tuple[str, str]:
        """Make the bundle of a version, and the environment that the machine would build of it."""
        agent, pip, requirements = [
            BundleFile.of(name, f"{version} {fault} {name}".encode()) for name in ("a.whl", "p.whl", "r.txt")
        ]
        manifest = Manifest(version, agent, pip, requirements)
        make_environment(self.prefix, version, manifest.environment.partition("-")[2], fault=fault)
        self.bundle.mkdir(exist_ok=True)
        (self.bundle / "manifest.json").write_bytes(manifest.encode())
        return version, hashlib.sha256(manifest.encode()).hexdigest()

    def order(self, version: str, sha256: str) -> Signed:
        arguments = {"version": version, "sha256": sha256}
        return self.operator.order("update", self.name, arguments=arguments)

    def send(self, order: Signed) -> None:
        wait_until(self._listen, seconds=SECONDS, what="the connection")
        self.publish(order)
        self._commander.flush(5)

    def publish(self, order: Signed) -> None:
        """Publish an order as somebody with all rights at the broker can."""
        wait_until(self._listen, seconds=SECONDS, what="the connection")
        topic = topics.COMMAND.at(org="home", machine=self.name)
        payload = CommandMessage(order=order, attempt=1).encode()
        assert self._commander.publish(Message(topic, payload))

    def outcome(self, order: Signed) -> Result:
        id_ = json.loads(order.statement)["id"]

        def found() -> list[Result]:
            self._listen()
            return [result for result in self.results if result.id == id_ and result.state != "running"]

        return wait_until(found, seconds=SECONDS, what="the outcome")[-1]

    def update(self, version: str, fault: str = "") -> Result:
        order = self.order(*self.publish_bundle(version, fault))
        self.send(order)
        return self.outcome(order)

    def wait_for_state(self, state: str, *, seconds: float = SECONDS) -> None:
        def reached() -> bool:
            self._listen()  # the connection ends if nobody reads from it for a trial's time
            record = read_update(self.data)
            return record is not None and record.state == state

        wait_until(reached, seconds=seconds, what=state)

    def ledger(self) -> tuple[int, int, int]:
        """Return the numbers of samples that were made, that are stored, and that arrived twice."""
        made = stored = twice = 0
        query = (select(tables.stream).join(tables.machine, tables.machine.c.id == tables.stream.c.machine_id)).where(
            tables.machine.c.name == self.name
        )
        with self.engine.connect() as connection:
            for row in connection.execute(query).mappings():
                made += row["highest_seq"]
                stored += len(Ranges.parse(row["stored"])) if isinstance(row["stored"], str) else 0
                twice += row["duplicate"]
        return made, stored, twice

    def _listen(self) -> bool:
        """Read what has arrived; return whether there is a connection."""
        for event in self._commander.receive(100, 0.05):
            if isinstance(event, Message):
                self.results.append(Result.decode(event.payload))
        return self._commander.connected


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _descendants(int(child)))]


@contextmanager
def a_machine(directory: Path, engine: Engine, name: str) -> Iterator[InstalledMachine]:
    """A machine that runs the old version, and its server."""
    files = MachineFiles(FileServer([BundleStore(directory / "bundle").find], FileRates(SystemClock())))
    with site(engine, "home", files=files) as server:
        machine = InstalledMachine(directory, server, engine, name)
        try:
            machine.start()
            machine.wait_until_runs(VERSION)
            yield machine
        finally:
            machine.stop()
