"""Temperature."""

import fnmatch
import math
from collections.abc import Iterator

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric

LOWEST, HIGHEST = -50.0, 125.0
"""Degrees Celsius of a plausible reading; sensors that are not connected report values such as 127, -128 or 65261."""

_CPU_SENSORS = frozenset(
    (
        *("coretemp", "k8temp", "k10temp", "zenpower", "via_cputemp", "x86_pkg_temp"),
        *("cpu_thermal", "cpu-thermal", "cpu0_thermal", "cpu0-thermal", "soc_thermal", "soc-thermal"),
    )
)


class Temperature(Collector):
    """The hottest sensor of the processor; without one, the hottest of all."""

    metrics = (Metric(name="temperature_celsius", unit="celsius", title="Temperature"),)

    def collect(self) -> Readings:
        """Return None on a machine without a plausible sensor, such as most virtual machines."""
        if not hasattr(psutil, "sensors_temperatures"):
            return {"temperature_celsius": None}
        sensors = list(self._plausible())
        chosen = [value for name, value in sensors if name in _CPU_SENSORS] or [value for _, value in sensors]
        return {"temperature_celsius": round(max(chosen), 1) if chosen else None}

    def _plausible(self) -> Iterator[tuple[str, float]]:
        """Return the name of the sensor's chip and its reading, of each sensor that is not to be ignored."""
        for name, group in psutil.sensors_temperatures().items():
            for sensor in group:
                value, label = sensor.current, getattr(sensor, "label", "")
                known = isinstance(value, int | float) and math.isfinite(value)
                if known and LOWEST <= value <= HIGHEST and not self._is_ignored(name, f"{name}/{label}"):
                    yield name, value

    def _is_ignored(self, *names: str) -> bool:
        return any(fnmatch.fnmatchcase(name, each) for name in names for each in self.settings.ignored_sensors)
