"""The history of a machine's devices: readings or hourly roll-ups, at most one row per step and device.

Invariants:
- A step without a reading of a device has no row of it.
- An average over roll-ups counts each reading once. A counter has the highest value of its step.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Engine

from schemas.database.series.stored_series import read_blocks, read_roll_ups
from schemas.fleet.history import HOUR, HOURS, Resolution, Summary, merge
from schemas.series.frame import Place

Rows = list[dict[str, Any]]
"""`at`, `value`, and with roll-ups `value:min` and `value:max`; the oldest first."""


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
) -> dict[str, dict[str, Rows]]:
    """Return the history after `start` until `end`, by metric and device, a row per `step`.

    `devices`: those to return, all if empty. Times are milliseconds of the server's clock; `at` is that of the last
    reading in the step, or the start of the last hour. Hours that are not complete have no counters.
    """
    is_rolled_up = resolution == HOURS
    if is_rolled_up:
        found = _summaries(engine, machine_id, metrics, start, end, counters)
    else:
        found = _readings(engine, machine_id, metrics, start, end)
    steps: dict[Place, dict[int, list[tuple[int, Summary]]]] = {}
    for place, at, summary in found:
        if not devices or place[1] in devices:
            steps.setdefault(place, {}).setdefault(at // step, []).append((at, summary))
    history: dict[str, dict[str, Rows]] = {}
    for place, buckets in steps.items():
        rows = [_row(buckets[bucket], counter=place[0] in counters, ranges=is_rolled_up) for bucket in sorted(buckets)]
        history.setdefault(place[0], {})[place[1]] = rows
    return history


def _readings(
    engine: Engine, machine_id: int, metrics: Collection[str], start: int, end: int
) -> Iterator[tuple[Place, int, Summary]]:
    for block in read_blocks(engine, machine_id, start=start + 1, end=end, metrics=metrics):
        for place, column in block.columns.items():
            for at, number in zip(block.times, column, strict=True):
                if number is not None and start < at <= end:
                    yield place, at, Summary(1, number, number, number)


def _summaries(
    engine: Engine, machine_id: int, metrics: Collection[str], start: int, end: int, counters: Collection[str]
) -> Iterator[tuple[Place, int, Summary]]:
    for at, summaries in read_roll_ups(engine, machine_id, start=start + 1, end=end, metrics=metrics).items():
        for place, summary in summaries.items():
            if at + HOUR <= end or place[0] not in counters:
                yield place, at, summary


def _row(found: Iterable[tuple[int, Summary]], *, counter: bool, ranges: bool) -> dict[str, Any]:
    each = list(found)
    at, summary = max(at for at, _ in each), merge([summary for _, summary in each])
    if summary is None:
        return {"at": at, "value": None}
    row = {"at": at, "value": summary.maximum if counter else summary.average}
    return {**row, "value:min": summary.minimum, "value:max": summary.maximum} if ranges and not counter else row
