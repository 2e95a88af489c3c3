"""Temperature."""

import psutil

from agent.collector import Collector, Readings
from schemas.contract.messages import Metric


class Temperature(Collector):
    """The hottest sensor."""

    metrics = (Metric(name="temperature_celsius", unit="celsius", title="Temperature"),)

    def collect(self) -> Readings:
        """Return None on a machine without a sensor, such as most virtual machines."""
        if not hasattr(psutil, "sensors_temperatures"):
            return {"temperature_celsius": None}
        sensors = [sensor.current for group in psutil.sensors_temperatures().values() for sensor in group]
        return {"temperature_celsius": round(max(sensors), 1) if sensors else None}
