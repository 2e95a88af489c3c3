"""What the agent costs a machine: memory and processor time, at the default interval, connected to a real broker.

An agent that reads only the vitals is measured, and one with all collectors that apply here.
`make bench` measures for five minutes; inside `make test` a short time shows that the bound on memory holds.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from brokers import embedded_broker
from waiting import wait_until

import agent.collectors
from agent.collector import discover_details, name_of
from broker.access.policy import Principal, Role
from runtime.settings.agent import AgentSettings

SECONDS = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "10"))
START_SECONDS = 60.0 if SECONDS >= 300 else 3.0
"""The first two samples have series, so that the first minute costs more than the others."""

MACHINE = Principal(Role.MACHINE, "home", "attic")


class Footprint(NamedTuple):
    """Most memory in MiB (proportional set size), and most processor time in percent of one core."""

    mib: float
    percent: float


VITALS, ALL = Footprint(35.0, 0.1), Footprint(40.0, 0.15)


def detail_collectors() -> list[str]:
    return [name_of(each) for each in discover_details(agent.collectors, AgentSettings(data=Path(), machine="attic"))]


@pytest.mark.parametrize(("most", "off"), [(VITALS, detail_collectors()), (ALL, [])], ids=["vitals", "all"])
def test_the_agent_stays_within_its_footprint(tmp_path: Path, most: Footprint, off: list[str]) -> None:
    with embedded_broker({MACHINE: "made-up"}) as broker:
        argv = [
            sys.executable, "-m", "dashfleet", "agent", "--data", str(tmp_path), "--machine", "attic",
            "--server", f"mqtt://127.0.0.1:{broker.port}",
        ]  # fmt: skip
        settings = {"DASHFLEET_AGENT_PASSWORD": "made-up", "DASHFLEET_AGENT_COLLECTORS_OFF": json.dumps(off)}
        process = subprocess.Popen(argv, env={**os.environ, **settings})
        try:
            wait_until(lambda: MACHINE.username in broker.clients, seconds=30, what="the agent's connection")
            time.sleep(START_SECONDS)
            start, spent = time.monotonic(), processor_seconds(process.pid)
            time.sleep(SECONDS)  # what is measured is this time
            percent = 100 * (processor_seconds(process.pid) - spent) / (time.monotonic() - start)
            pss = pss_mib(process.pid)
        finally:
            process.terminate()
            process.wait()
    print(f"\nagent over {SECONDS:g} s at 10 s: {pss:.1f} MiB PSS, {percent:.3f} % of one core")
    assert pss <= most.mib
    if SECONDS >= 300:  # less time would measure one round more or less
        assert percent <= most.percent


def processor_seconds(pid: int) -> float:
    """Return the time that all threads of a process have used, by its clock (see clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
