"""What a machine's history is made of: samples, minutes and hours, how they are summed up, and how long each is kept.

Invariants:
- A minute or an hour begins at a whole one since 1970, by the server's clock.
- Summing up is exact in number, minimum and maximum whatever the order and the grouping; an average is that of the
  readings, each counted once.
- What was not measured is not there: a summary of nothing is None, never zero.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, ValidationError

from schemas.contract.messages import ContractModel

MINUTE: Final = 60_000
HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
_DAY_SECONDS: Final = DAY // 1000

Kept = Annotated[int, Field(ge=3600, le=36_500 * _DAY_SECONDS)]


class Retention(ContractModel):
    """For how many seconds an organisation's data is kept: samples, minutes, hours, and events.

    Events are changes of presence, incidents that are over, requests with their commands, and messages set aside.
    """

    samples_seconds: Kept = 2 * _DAY_SECONDS
    minutes_seconds: Kept = 14 * _DAY_SECONDS
    hours_seconds: Kept = 400 * _DAY_SECONDS
    events_seconds: Kept = 400 * _DAY_SECONDS

    @classmethod
    def read(cls, stored: object) -> "Retention":
        """What is stored of an organisation; the defaults when that is nothing, or cannot be read."""
        try:
            return cls.model_validate({} if stored is None else stored)
        except ValidationError:
            return cls()


@dataclass(frozen=True, slots=True)
class Resolution:
    """How finely history is kept. `length`: milliseconds of one row; a sample has none."""

    table: str
    length: int


SAMPLES: Final = Resolution("sample", 0)
MINUTES: Final = Resolution("minute", MINUTE)
HOURS: Final = Resolution("hour", HOUR)


def choose_resolution(*, step: int, age: int, retention: Retention) -> Resolution:
    """What to read for points `step` milliseconds apart, the oldest of which is `age` milliseconds old.

    The coarsest that has a row for each point; a coarser one where that was not kept for so long.
    """
    if step >= HOUR or age > retention.minutes_seconds * 1000:
        return HOURS
    if step >= MINUTE or age > retention.samples_seconds * 1000:
        return MINUTES
    return SAMPLES


class Summary(NamedTuple):
    """Some readings of one kind, summed up."""

    number: int
    minimum: float
    average: float
    maximum: float


def sum_up(readings: Iterable[float | None]) -> Summary | None:
    """Readings as a summary; None when there is none."""
    found = [reading for reading in readings if reading is not None]
    if not found:
        return None
    minimum, maximum = min(found), max(found)
    return Summary(len(found), minimum, _between(minimum, math.fsum(found) / len(found), maximum), maximum)


def merge(summaries: Sequence[Summary | None]) -> Summary | None:
    """Summaries of different readings as one; None when there is none."""
    found = [summary for summary in summaries if summary is not None]
    if len(found) < 2:
        return found[0] if found else None
    minimum = min(summary.minimum for summary in found)
    maximum = max(summary.maximum for summary in found)
    number = sum(summary.number for summary in found)
    total = math.fsum(summary.number * summary.average for summary in found)
    return Summary(number, minimum, _between(minimum, total / number, maximum), maximum)


def sum_up_extras(extras: Iterable[dict[str, float | None] | None]) -> dict[str, Summary]:
    """The readings of all samples' extras, summed up by name."""
    columns: dict[str, list[float | None]] = {}
    for extra in extras:
        for name, reading in (extra or {}).items():
            columns.setdefault(name, []).append(reading)
    return {name: summary for name, column in columns.items() if (summary := sum_up(column)) is not None}


def merge_extras(extras: Iterable[dict[str, Any] | None]) -> dict[str, Summary]:
    """Stored summaries by name, as one by name."""
    columns: dict[str, list[Summary | None]] = {}
    for extra in extras:
        for name, summary in (extra or {}).items():
            columns.setdefault(name, []).append(Summary(*summary))
    return {name: summary for name, column in columns.items() if (summary := merge(column)) is not None}


def _between(minimum: float, average: float, maximum: float) -> float:
    """Rounding may not push an average out of its readings."""
    return min(max(average, minimum), maximum)
