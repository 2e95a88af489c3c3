"""How much memory is in use."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Memory(Collector):
    """What programs could not get any more: the total less what is available, as `free` counts it."""

    metrics = (
        Metric(name="memory_percent", unit="percent", title="Memory"),
        Metric(name="memory_used_bytes", unit="bytes", title="Memory used"),
    )

    def collect(self) -> Readings:
        """Both readings from one look."""
        memory = psutil.virtual_memory()
        return {"memory_percent": round(memory.percent, 1), "memory_used_bytes": memory.total - memory.available}
