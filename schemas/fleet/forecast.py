"""Forecast of when a disk will be full: linear regression over daily averages. Pure.

Invariants:
- A date is given only if the line rises and explains at least half of the variance. A disk that is filled and cleared
  by turns has no trend.
- No forecast is made from fewer than DAYS_MIN days, and no date more than HORIZON_DAYS ahead is given.
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
"""Minimum share of the variance: the square of the correlation."""

_FULL: Final = 100.0


class Outlook(StrEnum):
    """Kind of a forecast."""

    FULL = "full"
    """Full within the horizon."""
    SLOW = "slow"
    """Growing, but not full within the horizon."""
    NO_TREND = "no-trend"
    SHORT = "short"
    """Not enough days with data."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast: slope in percentage points per day, and time of reaching 100 % in milliseconds; None: not known."""

    outlook: Outlook
    per_day: float | None = None
    full_at: int | None = None


def forecast_disk(days: Sequence[tuple[int, float]]) -> Forecast:
    """Return the forecast from (start of the day in milliseconds, used percentage), oldest first."""
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
