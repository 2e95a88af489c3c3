"""A whole DashFleet of real processes: a broker, a database, an ingestor, and agents with the probe as collector."""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from faults.processes import Process
from faults.scale import SCALE
from servers import Postgresql, free_port, require_program
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError
from waiting import wait_until

from agent.outbox.memory_file import hot_path
from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from runtime.settings.agent import AgentSettings
from runtime.urls import sqlite_url
from schemas.contract.org_config import OrgConfig
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.database.queries.machines import list_machines
from schemas.fleet.ranges import Ranges

ORG = "acme"
SECRET = "made-up"
LOG_TAIL = 4000
PROBE = Path(__file__).parent / "probe" / "agent_process.py"
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
READER = Principal(Role.READER, ORG, "watch")


@dataclass(frozen=True, slots=True)
class Place:
    """Where processes run: the words before each command line, and the address of the broker from there."""

    prefix: tuple[str, ...] = ()
    broker_host: str = "127.0.0.1"


HERE = Place()


class Transition(NamedTuple):
    """A change of presence; `at` in milliseconds."""

    before: str
    after: str
    reason: str
    at: int


@dataclass(slots=True, eq=False)
class Machine:
    """One agent, what it keeps, and how it was started."""

    name: str
    data: Path
    process: Process
    journal: Path
    settings: AgentSettings
    hot: Path = field(init=False)

    def __post_init__(self) -> None:
        self.hot = hot_path(self.data / "agent")

    @property
    def cold(self) -> Path:
        return self.data / "agent" / "outbox.db"

    @property
    def issued(self) -> int:
        """How many samples it has measured so far."""
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0


class Fleet:
    """Everything that runs, by name: `broker`, `ingestor`, `database` (None for SQLite) and `machines`."""

    def __init__(self, directory: Path, *, broker: str, database: str, server: Place = HERE) -> None:
        self.directory = directory
        self.server = server
        self.port = free_port()
        self.machines: dict[str, Machine] = {}
        self.database = Postgresql() if database == "postgresql" else None
        if self.database is not None:
            self.database.start()
        self.url = sqlite_url(directory / "fleet.db") if self.database is None else self.database.url
        self.engine: Engine = open_engine(self.url)
        self._prepare()
        made = {"embedded": self._embedded, "mosquitto": self._mosquitto, "guarded": self._guarded}
        self.broker = made[broker]()
        self.ingestor = self.ingestor_on(self.url)
        self.more_ingestors: dict[str, Process] = {}

    # Running.

    def start(self) -> None:
        """Start the server's parts and every machine."""
        self.start_server()
        for machine in self.machines.values():
            machine.process.start(wait=False)
        for machine in self.machines.values():
            machine.process.wait_until_ready()

    def start_server(self) -> None:
        """Start the broker and the ingestor, at the same time."""
        self.broker.start(wait=False)
        self.ingestor.start(wait=False)
        self.broker.wait_until_ready()
        self.ingestor.wait_until_ready()

    def stop(self) -> None:
        """Stop everything that runs, the machines first, and delete what lives outside of the test's directory."""
        for machine in self.machines.values():
            machine.process.stop()
        for ingestor in self.more_ingestors.values():
            ingestor.stop()
        for machine in self.machines.values():
            if machine.hot.parent != machine.data / "agent":
                shutil.rmtree(machine.hot.parent, ignore_errors=True)
        self.ingestor.stop()
        self.broker.stop()
        self.engine.dispose()
        if self.database is not None:
            self.database.remove()

    def add_machine(
        self,
        name: str,
        *,
        place: Place = HERE,
        port: int | None = None,
        data: Path | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        **settings: Any,  # noqa: ANN401 - fields of AgentSettings
    ) -> Machine:
        """A machine with a credential and a place in the fleet; its agent is not started."""
        add_principal(self.engine, Principal(Role.MACHINE, ORG, name), SECRET, now=_now)
        data = data or self.directory / name
        data.mkdir(exist_ok=True)
        fields = {"interval_seconds": 0.05, "keep_alive_seconds": 5, **settings}
        resolved = AgentSettings(
            data=data, org=ORG, machine=name, server=f"mqtt://{place.broker_host}:{port or self.port}", **fields
        )
        journal = self.directory / f"{name}.journal"
        process = Process(
            f"agent {name}",
            [*place.prefix, *wrapper, sys.executable, "-OO", str(PROBE)],
            ready="ready: ",
            log=self.directory / f"{name}.log",
            environment={
                "DASHFLEET_RESOLVED_SETTINGS": resolved.model_dump_json(exclude={"password"}),
                "DASHFLEET_AGENT_PASSWORD": SECRET,
                "PROBE_JOURNAL": str(journal),
                "PROBE_MACHINE": name,
                "PROBE_SPILL_SECONDS": str(SCALE.spill),
                "PROBE_BACKOFF_SECONDS": str(SCALE.backoff),
                "PROBE_RESEND_SECONDS": str(SCALE.resend),
                **(environment or {}),
            },
        )
        self.machines[name] = Machine(name, data, process, journal, resolved)
        return self.machines[name]

    def ingestor_on(self, url: str, *, name: str = INGESTOR.name, port: int | None = None) -> Process:
        """An ingestor that stores in this database; it is not started. `port`: of its broker."""
        return self._part(
            name,
            ["--name", name, "--server", f"mqtt://127.0.0.1:{port or self.port}", "--database", url],
            {"DASHFLEET_INGESTOR_PASSWORD": SECRET, "DASHFLEET_INGESTOR_ACK_SECONDS": "0.5"},
            command="ingestor",
        )

    def add_ingestor(self, name: str, *, port: int | None = None) -> Process:
        """One ingestor more, with a credential; it is not started."""
        add_principal(self.engine, Principal(Role.INGESTOR, "", name), SECRET, now=_now)
        self.more_ingestors[name] = self.ingestor_on(self.url, name=name, port=port)
        return self.more_ingestors[name]

    def configure(self, **values: Any) -> None:  # noqa: ANN401 - fields of OrgConfig
        """Set the organisation's configuration."""
        config = OrgConfig(**values).model_dump(mode="json")
        with self.engine.begin() as connection:
            connection.execute(tables.org.update().values(config=config))

    # Looking.

    def look(self) -> dict[str, dict[str, Any]]:
        """What `dashfleet machines --json` shows, by machine."""
        return {row["machine"]: row for row in list_machines(self.engine)}

    def stored(self) -> dict[str, dict[str, Ranges]]:
        """The stored numbers of each stream, by machine."""
        query = select(tables.machine.c.name, tables.stream.c.name.label("stream"), tables.stream.c.stored)
        found: dict[str, dict[str, Ranges]] = {name: {} for name in self.machines}
        with self.engine.connect() as connection:
            for row in connection.execute(query.join(tables.stream)):
                found.setdefault(row.name, {})[row.stream] = Ranges.parse(row.stored)
        return found

    def progress(self) -> int:
        """How many numbers the ledgers have heard of; -1 while the database is away."""
        with suppress(OperationalError), self.engine.connect() as connection:
            return int(connection.scalar(select(func.coalesce(func.sum(tables.stream.c.highest_seq), 0))) or 0)
        return -1

    def transitions(self, name: str) -> list[Transition]:
        """Each change of a machine's presence."""
        table = tables.transition
        query = select(table.c.before, table.c.after, table.c.reason, table.c.at).join(tables.machine)
        query = query.where(tables.machine.c.name == name).order_by(table.c.id)
        with self.engine.connect() as connection:
            return [Transition(*row) for row in connection.execute(query)]

    def presence(self, name: str) -> tuple[str, bool]:
        """Whether a machine is shown as there, and whether that is verified."""
        row = self.look()[name]
        return str(row["presence"]), bool(row["verified"])

    def session(self, name: str) -> int:
        """The number of a machine's current connection, 0 before the first."""
        query = select(tables.state.c.session).join(tables.machine).where(tables.machine.c.name == name)
        with self.engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def wait_for_session(self, name: str, *, above: int) -> None:
        """Wait until a machine has connected again."""
        wait_until(lambda: self.session(name) > above, what=f"a new session of {name}")

    def wait_until_presence(self, name: str, presence: str, *, verified: bool = True, seconds: float = 30.0) -> None:
        """Wait until a machine is shown so."""
        wait_until(lambda: self.presence(name) == (presence, verified), seconds=seconds, what=f"{name} {presence}")

    def wait_until_present(self, *, seconds: float = 30.0) -> None:
        """Wait until all machines are online."""
        for name in self.machines:
            self.wait_until_presence(name, "online", seconds=seconds)

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents, oldest first."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(tables.incident).order_by(tables.incident.c.id))
            return [dict(row._mapping) for row in rows]

    def flows(self, *, more: int = 20, seconds: float = 60.0) -> None:
        """Wait until so many more samples are stored."""
        before = wait_until(lambda: max(0, self.progress() + 1), seconds=seconds, what="a database") - 1
        wait_until(lambda: self.progress() >= before + more, seconds=seconds, what=f"{more} more samples stored")

    def is_whole(self, marks: Mapping[str, int]) -> bool:
        """Whether each machine's numbers up to its mark are stored without a gap."""
        with suppress(OperationalError):
            stored = self.stored()
            return all(
                any([first for first, _ in ranges] == [1] and len(ranges) >= mark for ranges in stored[name].values())
                for name, mark in marks.items()
            )
        return False

    def settle(self, *, seconds: float = 90.0) -> None:
        """The faults are over: wait until all that was measured so far is stored, and one sample more."""
        marks = {name: machine.issued + 1 for name, machine in self.machines.items() if machine.process.running}
        wait_until(lambda: self.is_whole(marks), seconds=seconds, what=f"everything stored up to {marks}")

    # Making.

    def _prepare(self) -> None:
        upgrade(self.engine)
        add_org(self.engine, ORG, now=_now)
        for principal in (INGESTOR, READER):
            add_principal(self.engine, principal, SECRET, now=_now)

    def _part(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        command: str | None = None,
    ) -> Process:
        words = [command or name, "--data", str(self.directory), *arguments]
        return Process(
            name,
            [*self.server.prefix, sys.executable, "-m", "dashfleet", *words],
            ready="ready: ",
            log=self.directory / f"{name}.log",
            environment=environment,
        )

    def _embedded(self) -> Process:
        return self._part("broker", ["--port", str(self.port), "--database", self.url])

    def _guarded(self) -> Process:
        """A Mosquitto with the limits and access rules of `dashfleet mosquitto`."""
        require_program("mosquitto", "mosquitto")
        return self._part("mosquitto", ["--port", str(self.port), "--database", self.url])

    def _mosquitto(self) -> Process:
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 100000\n"
            f"user {'root' if os.geteuid() == 0 else os.environ.get('USER', '')}\n"
        )
        program = require_program("mosquitto", "mosquitto")
        argv = [*self.server.prefix, program, "-c", str(configuration)]
        return Process("mosquitto", argv, ready=" running", log=self.directory / "mosquitto.log")


@contextmanager
def running_fleet(
    directory: Path, *, broker: str = "embedded", database: str = "sqlite", server: Place = HERE
) -> Iterator[Fleet]:
    """A fleet that is stopped at the end; add machines, then `start` it."""
    fleet = Fleet(directory, broker=broker, database=database, server=server)
    try:
        yield fleet
    except BaseException:
        for log in sorted(directory.glob("*.log")):  # pytest shows it with the failure
            sys.stdout.write(f"--- {log.name} ends with\n{log.read_text(errors='replace')[-LOG_TAIL:]}\n")
        raise
    finally:
        fleet.stop()


def _now() -> int:
    return time.time_ns() // 1_000_000
