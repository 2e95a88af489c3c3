"""Processor load."""

import time
from typing import Any

import psutil

from agent.collector import Collector, Readings
from agent.host import cgroup
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Metric

SHORTEST_SECONDS = 0.1
"""Shortest time per processor: the kernel counts in hundredths of a second, so less would give noise."""


class Cpu(Collector):
    """Share of time since the last sample in which the processors were busy, over all of them.

    In a container with a quota, it is the share of the quota that the container has used.
    """

    metrics = (Metric(name="cpu_percent", unit="percent", title="CPU"),)

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._before: Any = None
        self._container_before: tuple[float, float] | None = None

    def collect(self) -> Readings:
        """Return None at the first call, and when too little time has passed since the last."""
        quota, used = cgroup.cpu_quota(), cgroup.cpu_seconds()
        if quota is not None and used is not None:
            return {"cpu_percent": self._of_container(quota, used)}
        before, self._before = self._before, None  # a reading that fails leaves nothing to compare the next one with
        self._before = psutil.cpu_times()
        return {"cpu_percent": None if before is None else self._of_machine(before)}

    def _of_container(self, quota: float, used: float) -> float | None:
        before, self._container_before = self._container_before, (time.monotonic(), used)
        if before is None or (seconds := self._container_before[0] - before[0]) < SHORTEST_SECONDS:
            return None
        return _percent((used - before[1]) / (seconds * quota))

    def _of_machine(self, before: Any) -> float | None:  # noqa: ANN401 - psutil's fields differ by system
        now = self._before._asdict()
        spent = {name: max(0.0, now[name] - then) for name, then in before._asdict().items() if name in now}
        # Linux includes guest time in user time.
        total = sum(spent.values()) - spent.get("guest", 0.0) - spent.get("guest_nice", 0.0)
        idle = spent["idle"] + spent.get("iowait", 0.0)
        if total < SHORTEST_SECONDS * (psutil.cpu_count() or 1):
            return None
        return _percent(1 - idle / total)


def _percent(share: float) -> float:
    return round(100 * min(1.0, max(0.0, share)), 1)
