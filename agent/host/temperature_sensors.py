"""Temperature sensors with plausible readings."""

import fnmatch
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psutil

LOWEST, HIGHEST = -50.0, 125.0
"""Degrees Celsius of a plausible reading; sensors that are not connected report values such as 127, -128 or 65261."""


class TemperatureReading(NamedTuple):
    """A reading of a sensor of a chip; the label is empty if the sensor has none."""

    chip: str
    label: str
    celsius: float


def temperatures(ignored: Sequence[str]) -> Iterator[TemperatureReading]:
    """Return the plausible readings of all sensors that are not ignored, as CHIP or CHIP/LABEL."""
    if not hasattr(psutil, "sensors_temperatures"):
        return
    for chip, group in psutil.sensors_temperatures().items():
        for sensor in group:
            value, label = sensor.current, getattr(sensor, "label", "")
            known = isinstance(value, int | float) and math.isfinite(value)
            if known and LOWEST <= value <= HIGHEST and not _is_ignored(ignored, chip, f"{chip}/{label}"):
                yield TemperatureReading(chip, label, value)


def _is_ignored(ignored: Sequence[str], *names: str) -> bool:
    return any(fnmatch.fnmatchcase(name, each) for name in names for each in ignored)
