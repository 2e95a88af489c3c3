"""A broker that restarts, and a whole fleet that comes back to it."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.fleet import ORG, SECRET, Fleet, running_fleet
from faults.oracle import say
from faults.processes import Process
from faults.scale import SCALE, brokers
from sqlalchemy import select
from waiting import wait_until

from broker.access import Principal, Role
from ingestor.admin import add_principal
from schemas import tables
from schemas.settings import AgentSettings

PROCESSES = 2
BACK_SECONDS = 60.0
CONNECTS_A_SECOND = 25
"""5 % of 500: the spread grows with the fleet, so that no fleet comes back faster."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("broker", brokers("embedded"))
def test_after_a_broker_restart_all_agents_are_back_soon_and_not_all_at_once(tmp_path: Path, broker: str) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet, many_agents(fleet, SCALE.agents) as crowd:
        fleet.start_server()
        for process in crowd:
            process.start()
        wait_until(lambda: presences(fleet) == {"online": SCALE.agents}, seconds=180, what="all agents online")
        time.sleep(6.0)  # the ingestor tells the spread for so many machines each 5 s
        restarted_at = time.time_ns() // 1_000_000
        fleet.broker.kill()
        fleet.broker.start()
        back_by = time.monotonic() + BACK_SECONDS + 5
        wait_until(lambda: len(connects(crowd, restarted_at)) == SCALE.agents, seconds=90, what="all connected again")
        assert time.monotonic() < back_by
        moments = connects(crowd, restarted_at)
        seconds = Counter((moment - restarted_at) // 1000 for moment in moments.values())
        last = (max(moments.values()) - restarted_at) / 1000
        say(f"{SCALE.agents} agents on {broker}: all back in {last:.1f} s, at most {max(seconds.values())} in a second")
        assert last <= BACK_SECONDS
        assert max(seconds.values()) <= CONNECTS_A_SECOND
        wait_until(lambda: presences(fleet) == {"online": SCALE.agents}, seconds=30, what="all agents online")
        assert changes(fleet) == {("unknown", "online"): SCALE.agents}
        (incident,) = fleet.incidents()
        assert incident["kind"] == "blind"
        assert incident["ended_at"] is not None


@contextmanager
def many_agents(fleet: Fleet, count: int) -> Iterator[list[Process]]:
    """Processes that run so many agents together."""
    settings = []
    for number in range(count):
        name = f"m{number}"
        add_principal(fleet.engine, Principal(Role.MACHINE, ORG, name), SECRET, now=lambda: 1)
        settings.append(
            AgentSettings(data=fleet.directory / name, org=ORG, machine=name, server=f"mqtt://127.0.0.1:{fleet.port}")
        )
    script = Path(__file__).parent / "probe" / "agents_process.py"
    processes = [
        Process(
            f"agents {number}",
            [sys.executable, str(script), *(one.model_dump_json() for one in settings[number::PROCESSES])],
            ready="ready: ",
            log=fleet.directory / f"agents-{number}.log",
            environment={"DASHFLEET_AGENT_PASSWORD": SECRET},
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
