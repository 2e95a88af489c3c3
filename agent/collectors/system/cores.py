"""Load of each core."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from agent.collector import DetailCollector, Details
from agent.host.small_files import read_text
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Metric

STATISTICS_FILE = Path("/proc/stat")
SHORTEST_SECONDS = 0.1
"""Shortest time between two readings: the kernel counts in hundredths of a second, so less would give noise."""


class _Spent(NamedTuple):
    """Time in an unknown unit, such as ticks: `total` and, of that, `idle`."""

    total: float
    idle: float


class Cores(DetailCollector):
    """Share of time since the last reading in which each logical processor was busy. Waiting for a disk is idle."""

    metrics = (Metric(name="cpu_core_percent", unit="percent", title="Core", device="core"),)
    needs = "Linux, macOS or Windows"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._before: dict[str, _Spent] = {}

    def present(self) -> bool:
        """Return True everywhere."""
        return True

    def collect(self) -> Details:
        """Return the loads; the first call, and a core that was just switched on, have none."""
        details = Details()
        before, self._before = self._before, dict(_of_linux() if STATISTICS_FILE.exists() else _elsewhere())
        shortest = SHORTEST_SECONDS * (100 if STATISTICS_FILE.exists() else 1)
        for name, now in self._before.items():
            then = before.get(name)
            total = now.total - then.total if then else 0.0
            if then is not None and total >= shortest:
                busy = 1 - (now.idle - then.idle) / total
                details.add(name, cpu_core_percent=100 * min(1.0, max(0.0, busy)))
        return details


def _of_linux() -> Iterator[tuple[str, _Spent]]:
    """Return the times of each core in ticks. Guest time is part of user time, and is not added again."""
    for line in read_text(STATISTICS_FILE).splitlines():
        words = line.split()
        if len(words) > 4 and words[0].startswith("cpu") and words[0] != "cpu":
            ticks = [int(word) for word in words[1:9]]
            yield words[0].removeprefix("cpu"), _Spent(sum(ticks), ticks[3] + sum(ticks[4:5]))


def _elsewhere() -> Iterator[tuple[str, _Spent]]:
    for number, times in enumerate(psutil.cpu_times(percpu=True)):
        yield str(number), _Spent(sum(times), times.idle)
