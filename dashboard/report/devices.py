"""The devices of an organisation's machines in a report: when file systems will be full, and the busiest of the others.

Invariant: memory grows with machines, their file systems and days, not with hours: those of one machine and ten days
are in memory at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Final

from sqlalchemy import Engine

from dashboard.report.reading_summary import ReadingSummary
from schemas.database.series.stored_series import each_roll_up
from schemas.fleet.availability import Span
from schemas.fleet.forecast import Forecast, forecast_disk
from schemas.series.daily_use import USED, DailyUse
from schemas.series.frame import Place

BUSIEST: Final = ("disk_busy_percent", "container_cpu_percent", "sensor_celsius", "pressure_some_percent")
"""Metrics of which the devices with the highest averages are listed."""

DEVICES_MAX: Final = 10
MOUNTS_MAX: Final = 64
"""File systems of one machine, the fullest."""


@dataclass(slots=True)
class MountSummary:
    """A file system. `days` are its used percentages by day, the oldest first."""

    machine: str
    mount: str
    highest: float
    days: Sequence[tuple[int, float]]

    @property
    def used(self) -> float:
        """Average of the last day."""
        return self.days[-1][1]

    @property
    def forecast(self) -> Forecast:
        """When it will be full."""
        return forecast_disk(self.days)


@dataclass(slots=True)
class BusyDevice:
    """A device with its average and highest reading."""

    machine: str
    device: str
    average: float
    highest: float


@dataclass(slots=True)
class DeviceFigures:
    """File systems, and by metric the devices with the highest averages, the highest first."""

    mounts: list[MountSummary] = field(default_factory=list)
    busiest: dict[str, list[BusyDevice]] = field(default_factory=dict)


def gather_devices(engine: Engine, machines: Mapping[int, str], within: Span) -> DeviceFigures:
    """Read the figures of machines, given by key and name."""
    found = DeviceFigures()
    for key, name in machines.items():
        use, readings = DailyUse(), dict[Place, ReadingSummary]()
        for at, summaries in each_roll_up(engine, key, start=within[0], end=within[1] - 1, metrics=(USED, *BUSIEST)):
            use.add(at, summaries)
            for place, each in summaries.items():
                if place[0] != USED:
                    readings.setdefault(place, ReadingSummary()).add(each.number, each.average, each.maximum)
        found.mounts += nlargest(MOUNTS_MAX, _mounts(name, use), key=lambda each: each.used)
        for metric in BUSIEST:
            candidates = [*found.busiest.get(metric, ()), *_devices(name, metric, readings)]
            if candidates:
                found.busiest[metric] = nlargest(DEVICES_MAX, candidates, key=lambda each: each.average)
    return found


def _mounts(machine: str, use: DailyUse) -> Iterator[MountSummary]:
    for device, days in use.by_device().items():
        highest = max(summary.maximum for _, summary in days)
        yield MountSummary(machine, device, highest, [(at, summary.average) for at, summary in days])


def _devices(machine: str, metric: str, found: Mapping[Place, ReadingSummary]) -> Iterator[BusyDevice]:
    for (name, device), readings in found.items():
        if name == metric and readings.average is not None and readings.highest is not None:
            yield BusyDevice(machine, device, readings.average, readings.highest)
