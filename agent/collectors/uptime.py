"""Time since boot."""

import time

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Uptime(Collector):
    """Whole seconds since boot, from a monotonic clock where the system has one that starts at boot."""

    metrics = (Metric(name="uptime_seconds", unit="seconds", title="Uptime"),)

    def collect(self) -> Readings:
        """Return the uptime. On Linux it includes sleep, and is independent of changes to the wall clock."""
        if hasattr(time, "CLOCK_BOOTTIME"):
            return {"uptime_seconds": int(time.clock_gettime(time.CLOCK_BOOTTIME))}
        return {"uptime_seconds": max(0, int(time.time() - psutil.boot_time()))}
