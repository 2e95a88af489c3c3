"""The history of a machine's devices: readings or hourly roll-ups, at most one row per step and device.

Invariants:
- A step without a reading of a device has no row of it.
- An average over roll-ups counts each reading once. A counter has the highest value of its step.
- Memory holds the steps that are returned and the stored rows of a few days, never all readings.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from schemas.database.series.stored_series import each_block, each_roll_up
from schemas.fleet.history import HOUR, HOURS, Resolution, Summary
from schemas.series.frame import Place

Rows = list[dict[str, Any]]
"""`at`, `value`, and with roll-ups `value:min` and `value:max`; the oldest first."""


class TooManyStepsError(Exception):
    """The history has more steps, over all devices, than the caller takes."""


@dataclass(slots=True)
class _Step:
    """The readings of a device in a step. `at`: of the last; `total`: the sum of the readings."""

    at: int
    number: int
    total: float
    minimum: float
    maximum: float

    def add(self, at: int, summary: Summary) -> None:
        self.at = max(self.at, at)
        self.number += summary.number
        self.total += summary.number * summary.average
        self.minimum = min(self.minimum, summary.minimum)
        self.maximum = max(self.maximum, summary.maximum)

    def row(self, *, counter: bool, ranges: bool) -> dict[str, Any]:
        average = min(max(self.total / self.number, self.minimum), self.maximum)  # in spite of rounding
        row = {"at": self.at, "value": self.maximum if counter else average}
        return {**row, "value:min": self.minimum, "value:max": self.maximum} if ranges and not counter else row


def read_device_history(
    engine: Engine,
    machine_id: int,
    metrics: Collection[str],
    *,
    start: int,
    end: int,
    step: int,
    resolution: Resolution,
    counters: Collection[str] = (),
    devices: Collection[str] = (),
    steps_max: int | None = None,
) -> dict[str, dict[str, Rows]]:
    """Return the history after `start` until `end`, by metric and device, a row per `step`.

    `devices`: those to return, all if empty. `steps_max`: the most steps over all devices. Times are milliseconds of
    the server's clock; `at` is that of the last reading in the step, or the start of the last hour. Hours that are not
    complete have no counters. Raises TooManyStepsError.
    """
    is_rolled_up = resolution == HOURS
    if is_rolled_up:
        found = _summaries(engine, machine_id, metrics, start, end, counters)
    else:
        found = _readings(engine, machine_id, metrics, start, end)
    steps = _in_steps((each for each in found if not devices or each[0][1] in devices), step, steps_max)
    history: dict[str, dict[str, Rows]] = {}
    for place, buckets in steps.items():
        counts = place[0] in counters
        rows = [buckets[bucket].row(counter=counts, ranges=is_rolled_up) for bucket in sorted(buckets)]
        history.setdefault(place[0], {})[place[1]] = rows
    return history


def _in_steps(
    found: Iterable[tuple[Place, int, Summary]], step: int, steps_max: int | None
) -> dict[Place, dict[int, _Step]]:
    steps: dict[Place, dict[int, _Step]] = {}
    count = 0
    for place, at, summary in found:
        buckets = steps.setdefault(place, {})
        known = buckets.get(at // step)
        if known is not None:
            known.add(at, summary)
            continue
        number, minimum, average, maximum = summary
        buckets[at // step] = _Step(at, number, number * average, minimum, maximum)
        count += 1
        if steps_max is not None and count > steps_max:
            raise TooManyStepsError
    return steps


def _readings(
    engine: Engine, machine_id: int, metrics: Collection[str], start: int, end: int
) -> Iterator[tuple[Place, int, Summary]]:
    for block in each_block(engine, machine_id, start=start + 1, end=end, metrics=metrics):
        for place, column in block.columns.items():
            for at, number in zip(block.times, column, strict=True):
                if number is not None and start < at <= end:
                    yield place, at, Summary(1, number, number, number)


def _summaries(
    engine: Engine, machine_id: int, metrics: Collection[str], start: int, end: int, counters: Collection[str]
) -> Iterator[tuple[Place, int, Summary]]:
    for at, summaries in each_roll_up(engine, machine_id, start=start + 1, end=end, metrics=metrics):
        for place, summary in summaries.items():
            if at + HOUR <= end or place[0] not in counters:
                yield place, at, summary
