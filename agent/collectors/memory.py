"""Memory usage."""

from agent.collector import Collector, Readings
from agent.host import memory
from schemas.contract.messages import Metric


class Memory(Collector):
    """Memory that is not available to programs: total minus available, as `free` counts it; a container's own."""

    metrics = (
        Metric(name="memory_percent", unit="percent", title="Memory"),
        Metric(name="memory_used_bytes", unit="bytes", title="Memory used"),
    )

    def collect(self) -> Readings:
        """Return both readings of one moment, or None for both."""
        found = memory.memory()
        return {
            "memory_percent": None if found is None else found.percent,
            "memory_used_bytes": None if found is None else found.used,
        }
