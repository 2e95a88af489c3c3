"""Pressure stall information."""

import re
from pathlib import Path

from agent.collector import DetailCollector, Details
from agent.host.small_files import read_text
from schemas.contract.messages import Metric

PRESSURE = Path("/proc/pressure")
_RESOURCES = ("cpu", "memory", "io")
_LINE = re.compile(r"^(some|full) avg10=[\d.]+ avg60=([\d.]+) ", re.MULTILINE)


class Pressure(DetailCollector):
    """Share of the last minute in which programs waited for the processor, memory or disks: some, or all of them."""

    metrics = (
        Metric(name="pressure_some_percent", unit="percent", title="Pressure, some", device="resource"),
        Metric(name="pressure_full_percent", unit="percent", title="Pressure, full", device="resource"),
    )
    needs = "Linux 4.20 with pressure stall information (PSI)"

    def present(self) -> bool:
        """Return True if the kernel reports pressure."""
        return bool(read_text(PRESSURE / "cpu"))

    def collect(self) -> Details:
        """Return the averages over one minute by resource; `full` of the processor means nothing."""
        details = Details()
        for resource in _RESOURCES:
            for kind, percent in _LINE.findall(read_text(PRESSURE / resource)):
                if (resource, kind) != ("cpu", "full"):
                    details.add(resource, **{f"pressure_{kind}_percent": min(100.0, float(percent))})
        return details
