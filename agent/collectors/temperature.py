"""Temperature."""

from agent.collector import Collector, Readings
from agent.host.temperature_sensors import temperatures
from schemas.contract.messages import Metric

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
        sensors = list(temperatures(self.settings.ignored_sensors))
        of_cpu = [sensor.celsius for sensor in sensors if sensor.chip in _CPU_SENSORS]
        chosen = of_cpu or [sensor.celsius for sensor in sensors]
        return {"temperature_celsius": round(max(chosen), 1) if chosen else None}
