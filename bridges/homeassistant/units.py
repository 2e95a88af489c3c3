"""Units of the contract as Home Assistant knows them.

Source: `homeassistant/components/sensor/const.py`, DEVICE_CLASS_UNITS and DEVICE_CLASS_STATE_CLASSES.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.terminal import printable
from schemas.contract.messages import Metric


@dataclass(frozen=True, slots=True)
class Quantity:
    """A unit, its device class, and how a reading in the unit of the contract becomes one in this unit."""

    unit: str | None = None
    device_class: str | None = None
    scale: float = 1.0
    digits: int = 3
    may_count: bool = True
    """Whether the device class is permitted for a sensor that only grows."""

    def convert(self, reading: float | None) -> float | None:
        """Return a reading in this unit, rounded: null stays null."""
        return None if reading is None else round(reading * self.scale, self.digits)


_QUANTITIES: Mapping[str, Quantity] = {
    "percent": Quantity("%", digits=1),
    "bytes": Quantity("GB", "data_size", 1e-9),
    "bytes/s": Quantity("kB/s", "data_rate", 1e-3, may_count=False),
    "seconds": Quantity("s", "duration"),
    "milliseconds": Quantity("ms", "duration"),
    "celsius": Quantity("°C", "temperature", digits=1, may_count=False),
    "hertz": Quantity("Hz", "frequency", may_count=False),
    "watts": Quantity("W", "power", may_count=False),
    "volts": Quantity("V", "voltage", may_count=False),
    "amperes": Quantity("A", "current", may_count=False),
    "rpm": Quantity("rpm"),
    "processes": Quantity(),
    "count": Quantity(),
}


def quantity(metric: Metric) -> Quantity:
    """Return the quantity of a metric; one with a unit that is not the contract's is shown as it is."""
    if metric.device == "battery" and metric.unit == "percent":
        return Quantity("%", "battery", digits=1, may_count=False)
    return _QUANTITIES.get(metric.unit) or Quantity(printable(metric.unit) or None)
