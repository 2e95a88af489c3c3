"""The processes that use most: processor, memory and disks."""

import heapq
import os
from time import monotonic
from typing import NamedTuple

from agent.host import process_table
from agent.host.process_table import ProcessUse

EACH = 5
"""Number of processes by each of the three."""


class TopProcess(NamedTuple):
    """A process and what it used between two passes; `cpu_percent` is of one processor."""

    pid: int
    name: str
    cpu_percent: float
    memory_bytes: int
    disk_bytes_per_second: float | None


_Key = tuple[int, float]
"""Number and start of a process."""


class ProcessWatch:
    """Compares two passes over the processes. `machine_percent` is the load of all processors in between."""

    def __init__(self) -> None:
        self.machine_percent = 0.0
        self._before: dict[_Key, ProcessUse] = {}
        self._disk_before: dict[_Key, int] = {}
        self._at: float | None = None

    def top(self) -> list[TopProcess]:
        """Return the processes that used most since the last call: by processor, then by memory, then by disks.

        Without a call before, the processor and the disks have no part in it. What a process that has ended used in
        its last moments is not counted.
        """
        at, now = monotonic(), {(each.pid, each.started): each for each in process_table.processes()}
        seconds = max(0.001, at - self._at) if self._at is not None else None
        disks = self._disk_use(now)
        cpu: dict[_Key, float] = {}
        rates: dict[_Key, float] = {}
        if seconds is not None:
            cpu = {key: 100 * self._cpu_seconds(key, each) / seconds for key, each in now.items()}
            rates = {key: self._disk_growth(key, used) / seconds for key, used in disks.items()}
            self.machine_percent = min(100.0, sum(cpu.values()) / (os.cpu_count() or 1))
        known = {key: used for key, used in self._disk_before.items() if key in now}
        self._before, self._disk_before, self._at = now, {**known, **disks}, at
        memory = {key: float(each.memory_bytes) for key, each in now.items()}
        chosen = dict.fromkeys((*_most(cpu), *_most(memory), *_most(rates)))
        return [_top(now[key], cpu.get(key, 0.0), rates.get(key)) for key in chosen]

    def _cpu_seconds(self, key: _Key, process: ProcessUse) -> float:
        then = self._before.get(key)
        return max(0.0, process.cpu_seconds - (then.cpu_seconds if then else 0.0))

    def _disk_growth(self, key: _Key, used: int) -> int:
        return max(0, used - self._disk_before.get(key, used if key in self._before else 0))

    def _disk_use(self, now: dict[_Key, ProcessUse]) -> dict[_Key, int]:
        """Read the bytes of the processes that may have used a disk: they are new, were running, or wait for one."""
        found = {}
        for key, each in now.items():
            then = self._before.get(key)
            if then is None or each.waits_for_disk or each.cpu_seconds != then.cpu_seconds:
                used = process_table.disk_bytes(each.pid)
                if used is not None:
                    found[key] = used
        return found


def _most(use: dict[_Key, float]) -> list[_Key]:
    return heapq.nlargest(EACH, (key for key in use if use[key] > 0), key=lambda key: use[key])


def _top(process: ProcessUse, cpu_percent: float, rate: float | None) -> TopProcess:
    return TopProcess(process.pid, process.name, round(cpu_percent, 1), process.memory_bytes, rate)
