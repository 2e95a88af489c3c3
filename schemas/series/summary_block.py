"""Hourly roll-ups of a machine's series as one block: of one hour, or of a day.

Invariants:
- Number, minimum and maximum are exact, the average to AVERAGE_DIGITS significant digits.
- The block of a day has the hours that its parts have; of an hour that is in several parts the last one counts.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, cast

from schemas.fleet.history import Summary, merge, sum_up
from schemas.series.frame import PLACES_MAX, Frame, Place, write_frame
from schemas.series.number_columns import Number
from schemas.series.sample_block import SampleBlock

AVERAGE_DIGITS: Final = 5
"""Finer than a chart of a year shows."""

Summaries = Mapping[int, Mapping[Place, Summary]]
"""Start of an hour to metric and device to the summary of its readings."""

_FIXED = 1  # start of the hour


def sum_up_block(block: SampleBlock) -> dict[Place, Summary]:
    """Return the summary of each column."""
    found = ((place, sum_up(column)) for place, column in block.columns.items())
    return {place: summary for place, summary in found if summary is not None}


def merge_summaries(first: Mapping[Place, Summary], second: Mapping[Place, Summary]) -> dict[Place, Summary]:
    """Merge the summaries of disjoint samples of one hour."""
    merged = ((place, merge([first.get(place), second.get(place)])) for place in {**first, **second})
    return {place: summary for place, summary in merged if summary is not None}


def join_summaries(parts: Iterable[Summaries]) -> dict[int, Mapping[Place, Summary]]:
    """Return all hours; of an hour that is in several parts the last one."""
    return {at: summaries for part in parts for at, summaries in part.items()}


def write_summaries(hours: Summaries) -> bytes:
    """Return the roll-ups of some hours as bytes, of at most PLACES_MAX metrics and devices."""
    times = sorted(hours)
    places = list(dict.fromkeys(place for at in times for place in hours[at]))[:PLACES_MAX]
    columns: list[Sequence[Number]] = []
    for place in places:
        summaries = [hours[at].get(place) for at in times]
        columns.append([summary and summary.number for summary in summaries])
        columns.append([summary and summary.minimum for summary in summaries])
        columns.append([summary and _short(summary) for summary in summaries])
        columns.append([summary and summary.maximum for summary in summaries])
    return write_frame([times], places, columns, len(times))


def read_summaries(data: bytes, metrics: Collection[str] | None = None) -> dict[int, dict[Place, Summary]]:
    """Return the roll-ups in these bytes, of these metrics, or all."""
    frame = Frame(data, _FIXED)
    times = cast(list[int], frame.fixed[0])
    found: dict[int, dict[Place, Summary]] = {at: {} for at in times}
    for place, (numbers, lows, averages, highs) in frame.columns(metrics):
        for at, number, low, average, high in zip(times, numbers, lows, averages, highs, strict=True):
            if number is not None and low is not None and average is not None and high is not None:
                found[at][place] = Summary(int(number), low, average, high)
    return found


def _short(summary: Summary) -> float:
    """Return the average in few digits, within the readings."""
    average = float(f"{summary.average:.{AVERAGE_DIGITS}g}")
    return min(max(average, summary.minimum), summary.maximum)
