"""What `dashfleet up` takes with more and more simulated machines, for the table of docs/sizing.md."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench.test_server_footprint import named, processor_seconds, pss_mib, running
from servers import stop
from sqlalchemy import Engine, func, select
from waiting import wait_until

from runtime.state_directory import StateDirectory
from schemas.database import tables
from schemas.database.engine import open_engine

SECONDS = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "0"))
INTERVAL_SECONDS = 10
START_SECONDS = 30.0
CONNECTS_PER_SECOND = 100
OLDEST_SECONDS = 15.0

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(SECONDS < 60, reason="takes minutes: `make bench`"),
]


@pytest.mark.parametrize("machines", [100, 1_000, 3_000])
def test_everything_in_one_command_keeps_up_with_a_fleet(machines: int, tmp_path: Path) -> None:
    with running(tmp_path) as (up, _):
        engine = open_engine(StateDirectory(tmp_path).database_url)
        connecting = machines / CONNECTS_PER_SECOND
        duration = SECONDS + connecting + 2 * START_SECONDS
        options = ("--machines", str(machines), "--interval", str(INTERVAL_SECONDS), "--duration", str(duration))
        argv = ["simulate", "--json", "--data", str(tmp_path), "--connects", str(CONNECTS_PER_SECOND), *options]
        simulation = subprocess.Popen([sys.executable, "-m", "dashfleet", *argv], stdout=subprocess.PIPE)
        try:
            wait_until(
                lambda: _heard(engine)[0] > machines,
                seconds=connecting + 4 * START_SECONDS,
                what="a sample of each machine",
            )
            parts = named(up)
            began = time.monotonic()
            before = {name: processor_seconds(part) for name, part in parts.items()}
            time.sleep(SECONDS)  # what is measured is this time
            seconds = time.monotonic() - began
            percent = {name: 100 * (processor_seconds(part) - before[name]) / seconds for name, part in parts.items()}
            memory = {name: pss_mib(part) for name, part in parts.items()}
            oldest = time.time() - _heard(engine)[1] / 1000
            summary = json.loads(simulation.communicate(timeout=300)[0])
        finally:
            stop(simulation)
        engine.dispose()
    print(f"\n{machines:,} machines every {INTERVAL_SECONDS} s: newest sample at most {oldest:.1f} s old; {summary}")
    print("| part | MiB | % of a core |\n|---|---|---|")
    for name in parts:
        print(f"| {name} | {memory[name]:.0f} | {percent[name]:.1f} |")
    print(f"| all | {sum(memory.values()):.0f} | {sum(percent.values()):.1f} |")
    assert oldest < OLDEST_SECONDS
    assert summary["acknowledged"] == summary["taken"]


def _heard(engine: Engine) -> tuple[int, int]:
    """Return the number of machines with a sample, and the time of the newest sample that is the oldest of all."""
    heard = select(func.count(), func.min(tables.state.c.sampled_at)).where(tables.state.c.sampled_at > 0)
    with engine.connect() as connection:
        found = connection.execute(heard).one()
    return int(found[0]), int(found[1] or 0)
