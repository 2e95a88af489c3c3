"""So many agents that a process for each would be too much."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faults.fleet import ORG, SECRET, Fleet
from faults.probe.device_collectors.devices import JOURNALS
from faults.processes import Process
from sqlalchemy import select

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_principal
from runtime.settings.agent import AgentSettings
from schemas.database import tables

PROCESSES = 2
DETAIL_SECONDS = 10.0
"""Each sample has series: none is missing after a storm."""


@contextmanager
def many_agents(fleet: Fleet, count: int, *, ports: Sequence[int] = ()) -> Iterator[list[Process]]:
    """Processes that run so many agents together. `ports`: of several brokers, to be spread over."""
    settings = []
    for number in range(count):
        name = f"m{number}"
        add_principal(fleet.engine, Principal(Role.MACHINE, ORG, name), SECRET, now=lambda: 1)
        port = ports[number % len(ports)] if ports else fleet.port
        server = f"mqtt://127.0.0.1:{port}"
        fields = {"data": fleet.directory / name, "org": ORG, "machine": name, "server": server}
        settings.append(AgentSettings.model_validate({**fields, "detail_interval_seconds": DETAIL_SECONDS}))
    script = Path(__file__).parent / "probe" / "agents_process.py"
    processes = [
        Process(
            f"agents {number}",
            [sys.executable, str(script), *(one.model_dump_json() for one in settings[number::PROCESSES])],
            ready="ready: ",
            log=fleet.directory / f"agents-{number}.log",
            environment={"DASHFLEET_AGENT_PASSWORD": SECRET, JOURNALS: str(fleet.directory)},
        )
        for number in range(PROCESSES)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.stop(seconds=40)


def connects(crowd: list[Process], since: int) -> dict[str, int]:
    """When each machine connected last, of those that did since then."""
    found = {}
    for process in crowd:
        for line in process.output.decode(errors="replace").splitlines():
            if line.startswith("connected ") and int(line.split()[1]) > since:
                found[line.split()[2]] = int(line.split()[1])
    return found


def presences(fleet: Fleet) -> Counter[str]:
    with fleet.engine.connect() as connection:
        rows = connection.execute(select(tables.state.c.presence).where(tables.state.c.verified))
        return Counter(str(row[0]) for row in rows)


def changes(fleet: Fleet) -> Counter[tuple[str, str]]:
    with fleet.engine.connect() as connection:
        rows = connection.execute(select(tables.transition.c.before, tables.transition.c.after))
        return Counter((str(row[0]), str(row[1])) for row in rows)
