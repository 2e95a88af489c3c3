"""When a disk will be full, if it goes on as it went: a straight line through its days. Pure.

Invariants:
- A date is said only where a line explains at least half of what was measured, and rises. A disk that is filled and
  cleared in turns has no trend, and says so.
- Nothing is said from fewer than DAYS_MIN days, or of what is more than HORIZON_DAYS ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import correlation, linear_regression
from typing import Final

DAYS_MIN: Final = 5
HORIZON_DAYS: Final = 365
DAY: Final = 86_400_000
_EXPLAINED_MIN: Final = 0.5
"""Of the variance: the square of the correlation."""

_FULL: Final = 100.0


class Outlook(StrEnum):
    """What can be said."""

    FULL = "full"
    """It will be full, within the horizon."""
    SLOW = "slow"
    """It grows, and will not be full within the horizon."""
    NO_TREND = "no-trend"
    SHORT = "short"
    """It was not measured on enough days."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What can be said, percentage points a day of the line, and the moment at which it reaches 100 %."""

    outlook: Outlook
    per_day: float | None = None
    full_at: int | None = None


def forecast_disk(days: Sequence[tuple[int, float]]) -> Forecast:
    """From a disk's used percentage on each day (milliseconds of its start), the oldest first."""
    if len(days) < DAYS_MIN:
        return Forecast(Outlook.SHORT)
    times, percents = [at / DAY for at, _ in days], [percent for _, percent in days]
    if min(percents) == max(percents):
        return Forecast(Outlook.NO_TREND)
    slope, height = linear_regression(times, percents)
    if slope <= 0 or correlation(times, percents) ** 2 < _EXPLAINED_MIN:
        return Forecast(Outlook.NO_TREND)
    ahead = max(0.0, (_FULL - height) / slope - times[-1])
    if ahead > HORIZON_DAYS:
        return Forecast(Outlook.SLOW, slope)
    return Forecast(Outlook.FULL, slope, round((times[-1] + ahead) * DAY))
