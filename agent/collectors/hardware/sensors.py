"""Temperature sensors and fans."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import psutil

from agent.collector import DetailCollector, Details
from agent.host.temperature_sensors import temperatures
from schemas.contract.messages import Metric

_DIRECTORIES = (Path("/sys/class/hwmon"), Path("/sys/class/thermal"))


class Sensors(DetailCollector):
    """Plausible readings of all temperature sensors, the hottest first. `ignored_sensors` leaves some out."""

    metrics = (Metric(name="sensor_celsius", unit="celsius", title="Sensor", device="sensor"),)
    needs = "Linux or FreeBSD with sensors; most virtual machines have none"
    cost = "5 ms for 20 sensors"

    def present(self) -> bool:
        """Return True if the kernel has a driver for a sensor."""
        return hasattr(psutil, "sensors_temperatures") and any(map(_has_entries, _DIRECTORIES))

    def collect(self) -> Details:
        """Return the readings by CHIP/LABEL."""
        details = Details()
        found = sorted(temperatures(self.settings.ignored_sensors), key=lambda sensor: -sensor.celsius)
        names = unique(f"{sensor.chip}/{sensor.label}" if sensor.label else sensor.chip for sensor in found)
        for name, sensor in zip(names, found, strict=True):
            details.add(name, sensor_celsius=round(sensor.celsius, 1))
        return details


class Fans(DetailCollector):
    """Speed of each fan. A fan that stands still has 0."""

    metrics = (Metric(name="fan_rpm", unit="rpm", title="Fan", device="fan"),)
    needs = "Linux with fans that the kernel knows"

    def present(self) -> bool:
        """Return True if the kernel has a driver for a sensor."""
        return hasattr(psutil, "sensors_fans") and _has_entries(_DIRECTORIES[0])

    def collect(self) -> Details:
        """Return the speeds by CHIP/LABEL."""
        details = Details()
        found = [(chip, fan) for chip, fans in psutil.sensors_fans().items() for fan in fans]
        names = unique(f"{chip}/{fan.label}" if fan.label else chip for chip, fan in found)
        for name, (_, fan) in zip(names, found, strict=True):
            details.add(name, fan_rpm=int(fan.current))
        return details


def unique(names: Iterable[str]) -> list[str]:
    """Return the names with a number for the second and further of the same name: two disks have the same chip."""
    counts: Counter[str] = Counter()
    result = []
    for name in names:
        counts[name] += 1
        result.append(name if counts[name] == 1 else f"{name} {counts[name]}")
    return result


def _has_entries(directory: Path) -> bool:
    return next(directory.glob("*[0-9]"), None) is not None
