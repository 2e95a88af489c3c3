"""Time since boot."""

import math
import time
from pathlib import Path

import psutil

from agent.collector import Collector, Readings
from agent.host.small_files import read_text
from schemas.contract.messages import Metric

_UPTIME_FILE = Path("/proc/uptime")


class Uptime(Collector):
    """Whole seconds since boot, or since the start of the container where its manager says so in /proc/uptime."""

    metrics = (Metric(name="uptime_seconds", unit="seconds", title="Uptime"),)

    def collect(self) -> Readings:
        """Return the uptime. On Linux it includes sleep, and is independent of changes to the wall clock."""
        try:
            seconds = float(read_text(_UPTIME_FILE).split(" ")[0])
        except ValueError:
            seconds = math.nan
        if 0 <= seconds < math.inf:
            return {"uptime_seconds": int(seconds)}
        if hasattr(time, "CLOCK_BOOTTIME"):
            return {"uptime_seconds": int(time.clock_gettime(time.CLOCK_BOOTTIME))}
        return {"uptime_seconds": max(0, int(time.time() - psutil.boot_time()))}
