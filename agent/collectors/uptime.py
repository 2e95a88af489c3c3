"""How long the machine has been up."""

import time

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Uptime(Collector):
    """Whole seconds since the boot, from the monotonic clock where the system has one that counts from there."""

    metrics = (Metric(name="uptime_seconds", unit="seconds", title="Uptime"),)

    def collect(self) -> Readings:
        """On Linux the clock counts sleep, too, and does not move when somebody sets the time."""
        if hasattr(time, "CLOCK_BOOTTIME"):
            return {"uptime_seconds": int(time.clock_gettime(time.CLOCK_BOOTTIME))}
        return {"uptime_seconds": max(0, int(time.time() - psutil.boot_time()))}
