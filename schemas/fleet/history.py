"""A machine's history: samples, roll-ups per minute and hour, their aggregation and retention.

Invariants:
- Minutes and hours start at multiples of their length since 1970, by the server's clock.
- Number, minimum and maximum are exact, whatever the order and grouping; an average counts each reading once.
- A summary without readings is None, never zero.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
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
    """Retention of an organisation's data in seconds, 1 hour to 100 years.

    Events are presence transitions, ended incidents and alerts, requests with their commands, and dead letters.
    """

    samples_seconds: Kept = 2 * _DAY_SECONDS
    minutes_seconds: Kept = 14 * _DAY_SECONDS
    hours_seconds: Kept = 400 * _DAY_SECONDS
    events_seconds: Kept = 400 * _DAY_SECONDS

    @classmethod
    def read(cls, stored: object) -> "Retention":
        """Return the stored retention; the defaults if there is none, or it cannot be decoded."""
        try:
            return cls.model_validate({} if stored is None else stored)
        except ValidationError:
            return cls()


@dataclass(frozen=True, slots=True)
class Resolution:
    """A table of the history. `length`: time of one row in milliseconds; 0 for samples."""

    table: str
    length: int


SAMPLES: Final = Resolution("sample", 0)
MINUTES: Final = Resolution("minute", MINUTE)
HOURS: Final = Resolution("hour", HOUR)


def choose_resolution(*, step: int, age: int, retention: Retention) -> Resolution:
    """Return the resolution for points `step` milliseconds apart, the oldest of which is `age` milliseconds old.

    It is the coarsest with a row for each point, or a coarser one if that is not retained long enough.
    """
    if step >= HOUR or age > retention.minutes_seconds * 1000:
        return HOURS
    if step >= MINUTE or age > retention.samples_seconds * 1000:
        return MINUTES
    return SAMPLES


class Summary(NamedTuple):
    """Aggregate of readings of one metric."""

    number: int
    minimum: float
    average: float
    maximum: float


def sum_up(readings: Iterable[float | None]) -> Summary | None:
    """Aggregate readings; None if there is none."""
    found = [reading for reading in readings if reading is not None]
    if not found:
        return None
    minimum, maximum = min(found), max(found)
    return Summary(len(found), minimum, _between(minimum, math.fsum(found) / len(found), maximum), maximum)


def merge(summaries: Sequence[Summary | None]) -> Summary | None:
    """Merge summaries of disjoint readings; None if there is none."""
    found = [summary for summary in summaries if summary is not None]
    if len(found) < 2:
        return found[0] if found else None
    minimum = min(summary.minimum for summary in found)
    maximum = max(summary.maximum for summary in found)
    number = sum(summary.number for summary in found)
    total = math.fsum(summary.number * summary.average for summary in found)
    return Summary(number, minimum, _between(minimum, total / number, maximum), maximum)


def sum_up_extras(extras: Iterable[dict[str, float | None] | None]) -> dict[str, Summary]:
    """Aggregate the extra metrics of samples, by name."""
    return {name: summary for name, column in _by_name(extras) if (summary := sum_up(column)) is not None}


def merge_extras(extras: Iterable[dict[str, Any] | None]) -> dict[str, Summary]:
    """Merge stored summaries of extra metrics, by name."""
    merged = ((name, merge([Summary(*each) for each in column])) for name, column in _by_name(extras))
    return {name: summary for name, summary in merged if summary is not None}


def _by_name(extras: Iterable[Mapping[str, Any] | None]) -> Iterable[tuple[str, list[Any]]]:
    columns: dict[str, list[Any]] = {}
    for extra in extras:
        for name, value in (extra or {}).items():
            columns.setdefault(name, []).append(value)
    return columns.items()


def _between(minimum: float, average: float, maximum: float) -> float:
    """Keep an average within its readings in spite of rounding."""
    return min(max(average, minimum), maximum)
