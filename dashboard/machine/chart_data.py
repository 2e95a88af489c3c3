"""The rows of a machine's charts: samples, or minutes where the samples are too many or take too long to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from dashboard.widgets import charts
from schemas.database.queries import history as history_queries
from schemas.database.time_limit import is_exceeded
from schemas.fleet.history import MINUTES, SAMPLES, Resolution, Retention, choose_resolution


@dataclass(frozen=True, slots=True)
class ChartData:
    """Rows every `step` milliseconds. `is_reduced`: minutes are read in place of too many samples."""

    rows: Sequence[dict[str, Any]]
    resolution: Resolution
    step: int
    is_reduced: bool


def read(
    engine: Engine,
    machine_id: int,
    *,
    end: int,
    length: int,
    interval_seconds: float,
    retention: Retention,
    extras: Sequence[str],
    samples_max: int,
    age: int = 0,
) -> ChartData:
    """Read the history of the `length` milliseconds before `end`, of at most `samples_max` samples.

    `age`: milliseconds from `end` until now. Raises SQLAlchemyError.
    """
    kept = choose_resolution(step=charts.step(length, 0), age=age + length, retention=retention)
    within = partial(history_queries.read_history, engine, machine_id, start=end - length, end=end, extras=extras)

    def found(resolution: Resolution, *, is_reduced: bool = False) -> ChartData:
        step = charts.step(length, interval_seconds, resolution.length)
        return ChartData(within(step=step, resolution=resolution), resolution, step, is_reduced)

    if kept != SAMPLES:
        return found(kept)
    if history_queries.count_samples(engine, machine_id, start=end - length, end=end) <= samples_max:
        try:
            return found(SAMPLES)
        except OperationalError as error:
            if not is_exceeded(error):
                raise
    return found(MINUTES, is_reduced=True)
