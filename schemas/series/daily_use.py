"""The use of each file system by day, from the hourly roll-ups of a machine. Pure."""

from collections.abc import Mapping
from typing import Final

from schemas.fleet.forecast import DAY
from schemas.fleet.history import Summary, merge
from schemas.series.frame import Place

USED: Final = "disk_used_percent"

Days = list[tuple[int, Summary]]
"""Start of a day in milliseconds, and the summary of its readings, the oldest first."""


class DailyUse:
    """The used percentage of each file system, from the roll-ups of one hour after the other."""

    def __init__(self) -> None:
        self._found: dict[str, dict[int, Summary | None]] = {}

    def add(self, at: int, summaries: Mapping[Place, Summary]) -> None:
        """Add an hour."""
        day = at // DAY * DAY
        for (metric, device), summary in summaries.items():
            if metric == USED:
                days = self._found.setdefault(device, {})
                days[day] = merge([days.get(day), summary])

    def by_device(self) -> dict[str, Days]:
        """Return the days of each file system."""
        return {
            device: [(at, summary) for at, summary in sorted(days.items()) if summary is not None]
            for device, days in self._found.items()
        }
