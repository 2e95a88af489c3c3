"""Disk usage."""

import psutil

from agent.collector import Collector, Readings
from agent.host.file_system import measured_path
from schemas.contract.messages import Metric


class Disk(Collector):
    """The fullest local file system, or that at `disk_path`, as `df` counts it.

    Space reserved for root is neither used nor free.
    """

    metrics = (
        Metric(name="disk_percent", unit="percent", title="Disk"),
        Metric(name="disk_used_bytes", unit="bytes", title="Disk used"),
    )

    def collect(self) -> Readings:
        """Return both readings of one system call; None for a file system without a size."""
        path = measured_path(self.settings)
        usage = None if path is None else psutil.disk_usage(str(path))
        if usage is None or not usage.total:
            return {"disk_percent": None, "disk_used_bytes": None}
        return {"disk_percent": round(usage.percent, 1), "disk_used_bytes": usage.used}
