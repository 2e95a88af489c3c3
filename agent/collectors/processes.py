"""Number of processes."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Processes(Collector):
    """The number of processes."""

    metrics = (Metric(name="process_count", unit="processes", title="Processes"),)

    def collect(self) -> Readings:
        """Count process ids only, which reads one directory on Linux."""
        return {"process_count": len(psutil.pids())}
