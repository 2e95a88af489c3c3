"""Load average."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Load(Collector):
    """The load average over one minute."""

    metrics = (Metric(name="load_1m", unit="processes", title="Load, 1 minute"),)

    def collect(self) -> Readings:
        """Return None where the system has no load average."""
        if not hasattr(psutil, "getloadavg"):
            return {"load_1m": None}
        return {"load_1m": round(psutil.getloadavg()[0], 2)}
