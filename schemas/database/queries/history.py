"""A machine's history: samples, minutes or hours, at most one row per step.

Invariants:
- A reading that was not measured is None; a step without stored data has no row.
- An average over roll-ups counts each reading once.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Float, Table, case, cast, func, select, true, union_all

from schemas.contract.messages import VITALS
from schemas.database.columns import as_float
from schemas.database.queries.fetch import fetch_all, fetch_mappings, fetch_scalar
from schemas.database.sample_key import key_minute, sampled_between
from schemas.database.tables import dirty, hour, machine, metadata, minute, org, sample
from schemas.fleet.history import DAY, HOUR, MINUTE, SAMPLES, Resolution

RANGES: Final = {
    "1h": HOUR,
    "6h": 6 * HOUR,
    "24h": 24 * HOUR,
    "7d": 7 * 24 * HOUR,
    "30d": 30 * 24 * HOUR,
    "1y": 365 * 24 * HOUR,
}
"""Time ranges that a visitor can choose: code in addresses, milliseconds."""

COUNTERS: Final = ("network_received_bytes", "network_sent_bytes")
"""The vitals that only increase, but for a restart; the others are gauges."""


def read_cpu_by_minute(
    engine: Engine, org_name: str, names: Sequence[str], *, now: int, minutes: int
) -> dict[str, list[float | None]]:
    """Return the average CPU percentage of these machines in each of the last whole minutes, oldest first.

    A machine without a minute in this time is missing. One query reads at most one number per machine and minute.
    """
    start = now // MINUTE * MINUTE - minutes * MINUTE
    query = (
        select(machine.c.name, minute.c.at, minute.c.cpu_percent_avg)
        .select_from(minute.join(machine).join(org))
        .where(org.c.name == org_name, machine.c.name.in_(names))
        .where(minute.c.at >= start, minute.c.at < start + minutes * MINUTE)
    )
    found: dict[str, list[float | None]] = {}
    for row in fetch_all(engine, query):
        found.setdefault(row.name, [None] * minutes)[(row.at - start) // MINUTE] = row.cpu_percent_avg
    return found


def read_disk_by_day(engine: Engine, machine_id: int, *, start: int) -> list[tuple[int, float]]:
    """Return the average disk usage of each day since `start` as (start of the day, percentage), oldest first."""
    count = cast(hour.c.disk_percent_count, Float)
    average = func.sum(cast(hour.c.disk_percent_avg, Float) * count) / func.nullif(func.sum(count), 0.0)
    day = (hour.c.at // DAY).label("day")
    query = select(day, average.label("average")).where(hour.c.machine_id == machine_id, hour.c.at >= start)
    rows = fetch_all(engine, query.group_by(day).order_by(day))
    return [(row.day * DAY, float(row.average)) for row in rows if row.average is not None]


def last_recorded(engine: Engine, machine_id: int, *, before: int) -> int | None:
    """Return the time of a machine's last stored data before a time (milliseconds, server's clock); None without data.

    Of a roll-up it is the end of its interval.
    """
    newest = (
        select(table.c.at + length)
        .where(table.c.machine_id == machine_id, table.c.at < before)
        .order_by(table.c.at.desc())
        .limit(1)
        for table, length in ((minute, MINUTE), (hour, HOUR))
    )
    at = sample.c.sampled_at + sample.c.clock_offset_milliseconds
    last_sample = (
        select(at)
        .where(sample.c.machine_id == machine_id, sample.c.sampled_at < before + DAY, at < before)
        .order_by(key_minute(sample.c.sampled_at).desc(), sample.c.sampled_at.desc())
        .limit(1)
    )
    found = [fetch_scalar(engine, query) for query in (last_sample, *newest)]
    return max((min(each, before) for each in found if each is not None), default=None)


def sampled_within(machine_id: int, start: int, end: int) -> ColumnElement[bool]:
    """Return the condition for a machine's samples from `start` to `end` (milliseconds, server's clock).

    The key of `sample` has the machine's clock, so its range is taken from the minutes of this time and those still to
    be rolled up. The condition includes some samples outside the time.
    """
    places = [
        select(table.c.sampled_from, table.c.sampled_to).where(
            table.c.machine_id == machine_id, table.c.at > start - MINUTE, table.c.at <= end, condition
        )
        for table, condition in ((minute, true()), (dirty, dirty.c.length == MINUTE))
    ]
    found = union_all(*places).subquery()
    first, last = (select(bound).scalar_subquery() for bound in (func.min(found.c[0]), func.max(found.c[1])))
    return (sample.c.machine_id == machine_id) & sampled_between(first, last)


def count_samples(engine: Engine, machine_id: int, *, start: int, end: int) -> int:
    """Return the number of samples in the minutes of this time that are rolled up."""
    inside = (minute.c.machine_id == machine_id, minute.c.at >= start, minute.c.at < end)
    return fetch_scalar(engine, select(func.sum(minute.c.samples)).where(*inside)) or 0


def read_history(
    engine: Engine,
    machine_id: int,
    *,
    start: int,
    end: int,
    step: int,
    resolution: Resolution = SAMPLES,
    extras: Sequence[str] = (),
    vitals: Sequence[str] = VITALS,
) -> list[dict[str, Any]]:
    """Return the history after `start` until `end`, one row {"at": …, name: value} per `step`, oldest first.

    Times are milliseconds of the server's clock; `at` is that of the last sample in the step, or the start of the last
    minute or hour in it, and `samples` the number of samples in the step. Gauges are averaged, counters have their
    highest value. With roll-ups, "name:min" and "name:max" are the lowest and the highest reading. An extra metric is
    named "extra.name". `vitals`: those to read.
    """
    if resolution == SAMPLES:
        table: Table = sample
        at: ColumnElement[int] = sample.c.sampled_at + sample.c.clock_offset_milliseconds
        columns = _of_samples(vitals, extras)
        samples: ColumnElement[Any] = func.count()
        place = sampled_within(machine_id, start, end)
    else:
        table = metadata.tables[resolution.table]
        at = table.c.at
        columns = _of_rollups(table, vitals, extras, whole_until=end - resolution.length)
        samples = func.sum(table.c.samples)
        place = table.c.machine_id == machine_id
    bucket = (at // step).label("bucket")
    query = (
        select(bucket, func.max(at).label("at"), samples.label("samples"), *columns)
        .where(place, at > start, at <= end)
        .group_by(bucket)
        .order_by(bucket)
    )
    return fetch_mappings(engine, query)


def _of_samples(vitals: Sequence[str], extras: Sequence[str]) -> Iterator[ColumnElement[Any]]:
    for name in vitals:
        value = func.max(sample.c[name]) if name in COUNTERS else func.avg(as_float(sample.c[name]))
        yield value.label(name)
    for name in extras:
        yield func.avg(sample.c.extra[name].as_float()).label(f"extra.{name}")


def _of_rollups(
    table: Table, vitals: Sequence[str], extras: Sequence[str], *, whole_until: int
) -> Iterator[ColumnElement[Any]]:
    """Counters are not read from a row that began after `whole_until`, as it is not complete yet."""
    for name in vitals:
        if name in COUNTERS:
            yield func.max(case((table.c.at <= whole_until, table.c[f"{name}_max"]))).label(name)
        else:
            yield from _merged(name, *(table.c[f"{name}_{part}"] for part in ("count", "min", "avg", "max")))
    for name in extras:
        yield from _merged(f"extra.{name}", *(table.c.extra[name, place].as_float() for place in range(4)))


def _merged(name: str, *parts: ColumnElement[Any]) -> Iterator[ColumnElement[Any]]:
    count, minimum, average, maximum = parts
    yield (func.sum(cast(average, Float) * count) / func.nullif(func.sum(cast(count, Float)), 0.0)).label(name)
    yield func.min(minimum).label(f"{name}:min")
    yield func.max(maximum).label(f"{name}:max")
