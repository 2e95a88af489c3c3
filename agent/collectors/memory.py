"""Memory usage."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Memory(Collector):
    """Memory that is not available to programs: total minus available, as `free` counts it."""

    metrics = (
        Metric(name="memory_percent", unit="percent", title="Memory"),
        Metric(name="memory_used_bytes", unit="bytes", title="Memory used"),
    )

    def collect(self) -> Readings:
        """Return both readings of one system call."""
        memory = psutil.virtual_memory()
        return {"memory_percent": round(memory.percent, 1), "memory_used_bytes": memory.total - memory.available}
