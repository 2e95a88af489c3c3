"""The use of each file system by day, from the hourly roll-ups of a machine. Pure."""

from collections.abc import Mapping
from typing import Final

from schemas.fleet.forecast import DAY
from schemas.fleet.history import Summary, merge
from schemas.series.frame import Place

USED: Final = "disk_used_percent"

Days = list[tuple[int, Summary]]
"""Start of a day in milliseconds, and the summary of its readings, the oldest first."""


def use_by_day(hours: Mapping[int, Mapping[Place, Summary]]) -> dict[str, Days]:
    """Return the used percentage of each file system."""
    found: dict[str, dict[int, Summary | None]] = {}
    for at, summaries in hours.items():
        for (metric, device), summary in summaries.items():
            if metric == USED:
                days = found.setdefault(device, {})
                day = at // DAY * DAY
                days[day] = merge([days.get(day), summary])
    return {
        device: [(at, summary) for at, summary in sorted(days.items()) if summary is not None]
        for device, days in found.items()
    }
