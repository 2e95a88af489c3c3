"""Disk usage."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Disk(Collector):
    """The file system at `disk_path`, as `df` counts it: space reserved for root is neither used nor free."""

    metrics = (
        Metric(name="disk_percent", unit="percent", title="Disk"),
        Metric(name="disk_used_bytes", unit="bytes", title="Disk used"),
    )

    def collect(self) -> Readings:
        """Return both readings of one system call."""
        usage = psutil.disk_usage(str(self.settings.disk_path))
        return {"disk_percent": round(usage.percent, 1), "disk_used_bytes": usage.used}
