"""Made-up readings of a machine: plausible levels, daily load, slow growth, and short peaks.

Invariant: the readings of a machine depend on its name and the time alone, so that two runs can be compared.
"""

import math
import random

from agent.collection.sample_runner import CollectorRunner
from runtime.clock import Clock
from schemas.contract.messages import VITALS, Metric, Vitals

_UNITS = {"percent": "percent", "bytes": "bytes", "seconds": "seconds", "celsius": "celsius"}
_DAY_SECONDS = 86_400
_GIGABYTE = 10**9


class SimulatedReadings(CollectorRunner):
    """The collectors of a simulated machine. `booted_at`: milliseconds of the clock."""

    def __init__(self, name: str, clock: Clock) -> None:
        super().__init__([], timeout_seconds=1.0)
        self.booted_at = clock.now()
        self._clock = clock
        self._random = random.Random(name)  # noqa: S311 - no secret
        self._busy = self._random.uniform(2, 30)
        self._memory_bytes = self._random.choice((4, 8, 16, 32, 64)) * _GIGABYTE
        self._memory_percent = self._random.uniform(20, 70)
        self._disk_bytes = self._random.choice((32, 128, 512, 2000)) * _GIGABYTE
        self._disk_percent = self._random.uniform(10, 80)
        self._phase = self._random.uniform(0, _DAY_SECONDS)
        self._cpu = self._busy
        self._received = self._sent = 0
        self._read_at = clock.monotonic()
        self.memory_total_bytes, self.disk_total_bytes = self._memory_bytes, self._disk_bytes

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Descriptions of the vitals."""
        return _METRICS

    def collect(self) -> tuple[Vitals, dict[str, float | None]]:
        """Return the readings of now."""
        now, seconds = self._clock.now(), self._clock.monotonic() - self._read_at
        self._read_at = self._clock.monotonic()
        day = 1 + 0.5 * math.sin(2 * math.pi * (now / 1000 + self._phase) / _DAY_SECONDS)
        peak = 60 if self._random.random() < 0.01 else 0
        self._cpu = min(100.0, max(0.0, 0.8 * self._cpu + 0.2 * (self._busy * day + peak + self._random.gauss(0, 3))))
        self._disk_percent = min(99.0, self._disk_percent + seconds / _DAY_SECONDS * 0.2)
        rate = 1000 * self._cpu**2
        self._received += round(seconds * rate * self._random.uniform(0.5, 1.5))
        self._sent += round(seconds * rate * self._random.uniform(0.1, 0.5))
        memory = min(99.0, max(1.0, self._memory_percent + self._random.gauss(0, 1) + self._cpu / 10))
        return Vitals.model_construct(
            cpu_percent=round(self._cpu, 1),
            memory_percent=round(memory, 1),
            memory_used_bytes=_whole(self._memory_bytes * memory / 100, 1024),
            disk_percent=round(self._disk_percent, 1),
            disk_used_bytes=_whole(self._disk_bytes * self._disk_percent / 100, 4096),
            swap_percent=0.0,
            uptime_seconds=max(0, (now - self.booted_at) // 1000),
            load_1m=round(self._cpu / 25, 2),
            network_received_bytes=self._received,
            network_sent_bytes=self._sent,
            process_count=150 + round(self._cpu),
            temperature_celsius=round(35 + self._cpu / 3, 1),
        ), {}

    def reboot(self) -> None:
        """Start uptime and counters again."""
        self.booted_at, self._received, self._sent = self._clock.now(), 0, 0


def _whole(size: float, unit: int) -> int:
    """Return a size in bytes as a system counts it: whole blocks, or kibibytes of memory."""
    return round(size / unit) * unit


def _described(name: str) -> Metric:
    unit = _UNITS.get(name.rpartition("_")[2], "")
    kind = "counter" if name.startswith("network_") else "gauge"
    return Metric.model_validate(
        {"name": name, "unit": unit, "title": name.replace("_", " "), "location": "vitals", "kind": kind}
    )


_METRICS = tuple(map(_described, VITALS))
