"""How many processes there are."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Processes(Collector):
    """The number of processes."""

    metrics = (Metric(name="process_count", unit="processes", title="Processes"),)

    def collect(self) -> Readings:
        """Counts ids only, which is one look at a directory on Linux."""
        return {"process_count": len(psutil.pids())}
