"""A fleet of simulated machines on Mosquitto over a long time, and then a restart of the broker.

Real processes: Mosquitto, `dashfleet ingestor` and `dashfleet simulate`. With DASHFLEET_SIMULATED=10000 the machines
report every 10 s for DASHFLEET_BENCH_SECONDS; otherwise a few report more often for some seconds.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from bench.lanes import BROKER, child, figure
from servers import free_port, mosquitto, stop
from sqlalchemy import Engine, func, select
from waiting import wait_until

from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade

MACHINES = int(os.environ.get("DASHFLEET_SIMULATED", "20"))
IS_WHOLE = MACHINES >= 1_000
INTERVAL_SECONDS = 10 if IS_WHOLE else 1
SECONDS = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "5")) if IS_WHOLE else 5.0
OLDEST_SECONDS = 15.0
MOST_PERCENT_OF_A_CORE = 20.0
MOST_GROWTH_MIB = 30.0
BACK_SECONDS = 90.0
WINDOW_SECONDS = 10.0
FILES = 65_536
"""Of Mosquitto and the simulation, which have a connection per machine."""


@dataclass(slots=True)
class Watch:
    """The ingestor of a running fleet, looked at once in each window of 10 s."""

    engine: Engine
    ingestor: psutil.Process
    oldest_seconds: list[float] = field(default_factory=list)
    percent: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    def look(self, seconds: float) -> None:
        """Note the age of the oldest newest sample, several times, and what the ingestor used meanwhile."""
        began, spent = time.monotonic(), _processor_seconds(self.ingestor)
        oldest = 0.0
        while time.monotonic() < began + seconds:
            oldest = max(oldest, self.oldest())
            time.sleep(min(1.0, seconds / 5))  # what is watched is this time
        self.oldest_seconds.append(oldest)
        self.percent.append(100 * (_processor_seconds(self.ingestor) - spent) / (time.monotonic() - began))
        self.memory_mib.append(self.ingestor.memory_full_info().pss / (1 << 20))

    def oldest(self) -> float:
        """Return the age of the machine's newest sample that is the oldest of all."""
        with self.engine.connect() as connection:
            at = connection.scalar(select(func.min(tables.state.c.sampled_at)))
        return time.time() - (at or 0) / 1000

    def online(self) -> int:
        """Return the number of machines that are online and were heard since the broker was there."""
        is_online = (tables.state.c.presence == "online") & tables.state.c.verified
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(tables.state).where(is_online)) or 0

    def falsely_silent(self) -> int:
        """Return the number of times that a machine was shown as stale or offline."""
        lost = tables.transition.c.after.in_(("stale", "offline"))
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(tables.transition).where(lost)) or 0


def test_a_simulated_fleet_stays_fresh_and_is_soon_back_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as exits:
        broker = exits.enter_context(ExitStack())
        with _many_files():
            broker.enter_context(mosquitto(tmp_path, port=port, lines=BROKER))
        watch, metrics = exits.enter_context(_ingestor(tmp_path, port))
        simulation = exits.enter_context(_simulation(tmp_path, port))
        wait_until(lambda: watch.online() == MACHINES, seconds=300, what=f"{MACHINES} machines online")
        wait_until(lambda: watch.oldest() < OLDEST_SECONDS, what="a sample of each")
        for _ in range(max(1, round(SECONDS / WINDOW_SECONDS))):
            watch.look(min(SECONDS, WINDOW_SECONDS))
        broker.close()
        with _many_files():
            broker.enter_context(mosquitto(tmp_path, port=port, lines=BROKER))
        began, restarted_at = time.monotonic(), time.time()
        wait_until(lambda: time.time() - watch.oldest() > restarted_at, seconds=300, what="a new sample of each")
        back = time.monotonic() - began
        silent = watch.falsely_silent()
        simulation.terminate()
        summary = json.loads(simulation.communicate(timeout=120)[0])
        stored = figure(metrics, "stored_total")
    print(
        f"\n{MACHINES:,} machines every {INTERVAL_SECONDS} s for {SECONDS:.0f} s: newest sample at most "
        f"{max(watch.oldest_seconds):.1f} s old; ingestor at most {max(watch.percent):.1f} % of a core in "
        f"{WINDOW_SECONDS:.0f} s, {sum(watch.percent) / len(watch.percent):.1f} % on average; memory "
        f"{watch.memory_mib[0]:.0f} MiB at first, {watch.memory_mib[-1]:.0f} at last; broker restarted: all back "
        f"after {back:.1f} s, {silent} shown as silent; {summary}; stored {stored:,}"
    )
    assert summary["taken"] == summary["acknowledged"] == stored
    assert silent == 0
    if IS_WHOLE:
        assert max(watch.oldest_seconds) < OLDEST_SECONDS
        assert max(watch.percent) < MOST_PERCENT_OF_A_CORE
        assert watch.memory_mib[-1] - watch.memory_mib[len(watch.memory_mib) // 10] < MOST_GROWTH_MIB
        assert back < BACK_SECONDS


@contextmanager
def _ingestor(directory: Path, port: int) -> Iterator[tuple[Watch, str]]:
    url, metrics = sqlite_url(directory / "fleet.db"), f"127.0.0.1:{free_port()}"
    engine = open_engine(url)
    upgrade(engine)
    environment = {
        "DASHFLEET_DATA": str(directory),
        "DASHFLEET_INGESTOR_SERVER": f"mqtt://127.0.0.1:{port}",
        "DASHFLEET_INGESTOR_PASSWORD": "made-up",
        "DASHFLEET_INGESTOR_DATABASE": url,
        "DASHFLEET_INGESTOR_METRICS_LISTEN": metrics,
    }
    with child("-m", "dashfleet", "ingestor", environment=environment) as process:
        wait_until(lambda: figure(metrics, "broker_connected") == 1, what="the ingestor's connection")
        yield Watch(engine, psutil.Process(process.pid)), metrics
    engine.dispose()


@contextmanager
def _simulation(directory: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    options = {
        "--machines": MACHINES,
        "--interval": INTERVAL_SECONDS,
        "--duration": "24h",
        "--processes": 4 if IS_WHOLE else 1,
        "--server": f"mqtt://127.0.0.1:{port}",
        "--database": sqlite_url(directory / "fleet.db"),
        "--data": directory,
    }
    argv = [sys.executable, "-m", "dashfleet", "simulate", "--json"]
    argv += [str(part) for option in options.items() for part in option]
    with _many_files():
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        stop(process)


@contextmanager
def _many_files() -> Iterator[None]:
    """Let the processes that are started here open as many files as the system permits."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
