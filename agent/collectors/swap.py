"""Swap usage."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Swap(Collector):
    """The share of the swap space in use."""

    metrics = (Metric(name="swap_percent", unit="percent", title="Swap"),)

    def collect(self) -> Readings:
        """Return None on a machine without swap space."""
        swap = psutil.swap_memory()
        return {"swap_percent": round(swap.percent, 1) if swap.total else None}
