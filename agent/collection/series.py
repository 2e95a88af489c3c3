"""Series of one sample, from what detail collectors return: validated, rounded, and cut to the bounds of the contract.

Invariants:
- A sample has at most SERIES_MAX metrics, DEVICES_MAX devices of each and SERIES_READINGS_MAX readings; what is cut is
  counted for its collector.
- A value that is no finite number becomes null, and an undeclared metric is left out; both are counted as failures.
- Percentages have one digit after the point, and a number without a fraction is an integer: the message is shorter.
"""

import math
from collections import Counter
from collections.abc import Mapping

from agent.collector import DetailCollector, name_of
from schemas.contract.messages import DEVICES_MAX, INTEGER_MAX, SERIES_MAX, SERIES_READINGS_MAX
from schemas.contract.text import clean_line

DEVICE_NAME_MAX = 128
_READING_MAX = 1e300


class SeriesBuilder:
    """Series of one sample. `failures` counts invalid values by metric, `truncated` devices by collector."""

    def __init__(self) -> None:
        self.series: dict[str, dict[str, float | None]] = {}
        self.failures: Counter[str] = Counter()
        self.truncated: Counter[str] = Counter()
        self._readings = 0

    def add(self, collector: DetailCollector, series: Mapping[str, Mapping[str, float | int | None]]) -> None:
        """Add the series of a collector, as far as they fit."""
        units = {metric.name: metric.unit for metric in collector.metrics}
        most, kept, dropped = min(collector.devices_max, DEVICES_MAX), set[str](), set[str]()
        for metric, devices in series.items():
            if metric not in units or metric in self.series:
                self.failures[str(metric)] += 1
                continue
            room = min(most, SERIES_READINGS_MAX - self._readings) if len(self.series) < SERIES_MAX else 0
            names = list(devices)
            column = {_device(name): self._reading(metric, units[metric], devices[name]) for name in names[:room]}
            kept.update(names[:room])
            dropped.update(names[room:])
            if column:
                self.series[metric] = column
                self._readings += len(column)
        if dropped:
            self.truncated[name_of(collector)] += len(dropped)

    def _reading(self, metric: str, unit: str, value: object) -> float | int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.failures[metric] += 1
            return None
        if isinstance(value, int):
            return value if abs(value) <= INTEGER_MAX else None
        if not math.isfinite(value) or abs(value) > _READING_MAX:
            self.failures[metric] += 1
            return None
        value = round(value, 1) if unit == "percent" else value
        return int(value) if value.is_integer() and abs(value) <= INTEGER_MAX else value


def _device(name: object) -> str:
    """Return a name that a message can hold: the system allows any bytes in its names."""
    return clean_line(str(name))[:DEVICE_NAME_MAX] or "?"
