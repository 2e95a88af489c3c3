"""Processor load."""

import psutil

from agent.collector import Collector, Readings
from runtime.settings.agent import AgentSettings
from schemas.contract.messages import Metric

SHORTEST_SECONDS = 0.1
"""Shortest time per processor: the kernel counts in hundredths of a second, so less would give noise."""


class Cpu(Collector):
    """Share of time since the last sample in which the processors were busy, over all of them."""

    metrics = (Metric(name="cpu_percent", unit="percent", title="CPU"),)

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._before = psutil.cpu_times()

    def collect(self) -> Readings:
        """Return None when too little time has passed since the last call."""
        before, self._before = self._before, psutil.cpu_times()
        spent = [max(0.0, now - then) for then, now in zip(before, self._before, strict=True)]
        times = dict(zip(self._before._fields, spent, strict=True))
        # Linux includes guest time in user time.
        total = sum(spent) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
        idle = times["idle"] + times.get("iowait", 0.0)
        if total < SHORTEST_SECONDS * (psutil.cpu_count() or 1):
            return {"cpu_percent": None}
        return {"cpu_percent": round(100 * min(1.0, max(0.0, 1 - idle / total)), 1)}
