"""Stored series of a machine: its samples, from blocks and rows alike, and its hourly roll-ups.

Invariants:
- A sample is returned once, also while it is both in a block and a row.
- Times are milliseconds of the server's clock.
- `each_block`, `each_sample` and `each_roll_up` hold as much as a day or ten have, however long the time. Days without
  a row cost nothing, so a time of any length ends.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Engine, func, select

from schemas.database.newest_series import KEY as KEY
from schemas.database.queries.fetch import fetch_all, fetch_scalar
from schemas.database.tables import series_hour, series_rollup, series_sample
from schemas.fleet.history import DAY, HOUR, Summary
from schemas.series.frame import Place
from schemas.series.sample_block import Readings, SampleBlock, SeriesSample, make_block, read_block
from schemas.series.summary_block import read_summaries

ROLL_UPS_AT_ONCE = 10 * DAY


def read_blocks(
    engine: Engine, machine_id: int, *, start: int, end: int, metrics: Collection[str] | None = None
) -> list[SampleBlock]:
    """Return the series of the hours that have samples from `start` to `end`, of these metrics, or all.

    Blocks may have samples outside the time, and are in order of time only within themselves.
    """
    hours = select(series_hour.c.at, series_hour.c.block).where(
        series_hour.c.machine_id == machine_id, series_hour.c.at > start - HOUR, series_hour.c.at <= end
    )
    closed = [read_block(row.block, metrics) for row in fetch_all(engine, hours.order_by(series_hour.c.at))]
    known = {key for block in closed for key in block.keys}
    rows = select(*KEY, series_sample.c.readings).where(series_sample.c.machine_id == machine_id)
    rows = rows.where(series_sample.c.at >= start, series_sample.c.at <= end)
    new = [sample for row in fetch_all(engine, rows) if (sample := read_row(row, metrics)).key not in known]
    return [*closed, make_block(new)] if new else closed


def each_block(
    engine: Engine, machine_id: int, *, start: int, end: int, metrics: Collection[str] | None = None
) -> Iterator[SampleBlock]:
    """Yield what `read_blocks` returns, day after day; blocks may have samples outside the time."""
    for first, until in sample_days(engine, machine_id, start=start, end=end):
        yield from read_blocks(engine, machine_id, start=first, end=until, metrics=metrics)


def each_sample(
    engine: Engine, machine_id: int, *, start: int, end: int, metrics: Collection[str] | None = None
) -> Iterator[SeriesSample]:
    """Yield what `read_samples` returns, in order of time."""
    for first, until in sample_days(engine, machine_id, start=start, end=end):
        yield from read_samples(engine, machine_id, start=first, end=until, metrics=metrics)


def sample_days(engine: Engine, machine_id: int, *, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last millisecond of parts of a time, each at most a day, that have series of samples."""
    return _parts(engine, machine_id, (start, end), (series_hour.c.at, series_sample.c.at), unit=HOUR, length=DAY)


def read_samples(
    engine: Engine, machine_id: int, *, start: int, end: int, metrics: Collection[str] | None = None
) -> list[SeriesSample]:
    """Return the series of samples from `start` to `end`, in order of time."""
    blocks = read_blocks(engine, machine_id, start=start, end=end, metrics=metrics)
    found = [sample for block in blocks for sample in block.samples() if start <= sample.at <= end]
    return sorted(found, key=lambda sample: (sample.at, sample.key))


def read_roll_ups(
    engine: Engine, machine_id: int, *, start: int, end: int, metrics: Collection[str] | None = None
) -> dict[int, dict[Place, Summary]]:
    """Return the roll-ups of the hours from `start` to `end`, in order of time."""
    mine = (series_rollup.c.machine_id == machine_id, series_rollup.c.at > start - DAY, series_rollup.c.at <= end)
    query = select(series_rollup.c.block).where(*mine).order_by(series_rollup.c.length.desc(), series_rollup.c.at)
    found: dict[int, dict[Place, Summary]] = {}
    for row in fetch_all(engine, query):  # days first, so that an hour counts instead of the one in its day
        found.update(read_summaries(row.block, metrics))
    return {at: found[at] for at in sorted(found) if start <= at <= end}


def each_roll_up(
    engine: Engine, machine_id: int, *, start: int, end: int, metrics: Collection[str] | None = None
) -> Iterator[tuple[int, dict[Place, Summary]]]:
    """Yield what `read_roll_ups` returns, in order of time."""
    for first, until in roll_up_days(engine, machine_id, start=start, end=end, length=ROLL_UPS_AT_ONCE):
        yield from read_roll_ups(engine, machine_id, start=first, end=until, metrics=metrics).items()


def roll_up_days(
    engine: Engine, machine_id: int, *, start: int, end: int, length: int = DAY
) -> Iterator[tuple[int, int]]:
    """Yield the first and last millisecond of parts of a time, each at most `length`, that have roll-ups."""
    return _parts(engine, machine_id, (start, end), (series_rollup.c.at,), unit=DAY, length=length)


def _parts(
    engine: Engine,
    machine_id: int,
    time: tuple[int, int],
    columns: Collection[ColumnElement[int]],
    *,
    unit: int,
    length: int,
) -> Iterator[tuple[int, int]]:
    """Yield parts of a time in which a machine has rows, from the start of a row's `unit`, each at most `length`."""
    start, end = time
    at = start - start % unit
    while (found := _first_row(engine, machine_id, at, end, columns)) is not None:
        first = found - found % unit
        at = first + length
        yield max(first, start), min(at - 1, end)


def _first_row(
    engine: Engine, machine_id: int, start: int, end: int, columns: Collection[ColumnElement[int]]
) -> int | None:
    """Return the time of a machine's first row from `start` to `end` by any of these columns; None without one."""
    times = []
    for at in columns:
        mine = (at.table.c.machine_id == machine_id, at >= start, at <= end)
        times.append(fetch_scalar(engine, select(func.min(at)).where(*mine)))
    return min((time for time in times if time is not None), default=None)


def read_row(row: Any, metrics: Collection[str] | None = None) -> SeriesSample:  # noqa: ANN401 - a row
    """Return the series in a row of KEY and `readings`, of these metrics, or all."""
    readings: Readings = from_json(row.readings)
    if metrics is not None:
        readings = {metric: devices for metric, devices in readings.items() if metric in metrics}
    return SeriesSample(row.at, row.stream_number, row.seq, readings)


def known_readings(readings: Readings) -> Mapping[str, Mapping[str, float]]:
    """Return the readings that are not null."""
    known = {
        metric: {device: number for device, number in devices.items() if number is not None}
        for metric, devices in readings.items()
    }
    return {metric: devices for metric, devices in known.items() if devices}
