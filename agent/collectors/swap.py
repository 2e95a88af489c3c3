"""Swap usage."""

from agent.collector import Collector, Readings
from agent.host import memory
from schemas.contract.messages import Metric


class Swap(Collector):
    """The share of the swap space in use."""

    metrics = (Metric(name="swap_percent", unit="percent", title="Swap"),)

    def collect(self) -> Readings:
        """Return None on a machine without swap space."""
        found = memory.swap()
        return {"swap_percent": None if found is None else found.percent}
