"""A machine's history in SQL: samples, minutes or hours, at most one row for each step.

Invariants:
- What was not measured is None, and a step in which nothing was stored has no row.
- A roll-up's average counts each reading once, however many rows are taken together.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Float, Table, case, cast, func, select, true, union_all

from schemas.contract.messages import VITALS
from schemas.database.tables import as_float, dirty, machine, metadata, minute, org, sample
from schemas.fleet.history import HOUR, MINUTE, SAMPLES, Resolution, Retention

RANGES: Final = {
    "1h": HOUR,
    "6h": 6 * HOUR,
    "24h": 24 * HOUR,
    "7d": 7 * 24 * HOUR,
    "30d": 30 * 24 * HOUR,
    "1y": 365 * 24 * HOUR,
}
"""How much history a visitor can ask for: its code in addresses, and milliseconds."""

_GAUGES: Final = tuple(name for name in VITALS if not name.startswith("network_"))
_COUNTERS: Final = ("network_received_bytes", "network_sent_bytes")
_COUNT, _MINIMUM, _AVERAGE, _MAXIMUM = range(4)
"""Where these are in a summary that is stored as JSON."""


def retention(engine: Engine, org_name: str) -> Retention:
    """How long the organisation's data is kept; as usual when it has not said."""
    with engine.connect() as connection:
        return Retention.read(connection.execute(select(org.c.retention).where(org.c.name == org_name)).scalar())


def cpu_by_minute(
    engine: Engine, org_name: str, names: Sequence[str], *, now: int, minutes: int
) -> dict[str, list[float | None]]:
    """The CPU of these machines in each of the last whole minutes, the oldest first, in one query.

    A machine of which nothing is known is left out. At most one number for each machine and minute is read.
    """
    start = now // MINUTE * MINUTE - minutes * MINUTE
    query = (
        select(machine.c.name, minute.c.at, minute.c.cpu_percent_avg)
        .select_from(minute.join(machine).join(org))
        .where(org.c.name == org_name, machine.c.name.in_(names))
        .where(minute.c.at >= start, minute.c.at < start + minutes * MINUTE)
    )
    found: dict[str, list[float | None]] = {}
    with engine.connect() as connection:
        for name, at, percent in connection.execute(query):
            found.setdefault(name, [None] * minutes)[(at - start) // MINUTE] = percent
    return found


def sampled_within(machine_id: int, start: int, end: int) -> ColumnElement[bool]:
    """Where a machine's samples from one moment to another are, by the key of their table, which has its own clock.

    Every sample is in a minute that says so, or that is marked to be rolled up. A few samples around are found, too.
    """
    places = [
        select(table.c.sampled_from, table.c.sampled_to).where(
            table.c.machine_id == machine_id, table.c.at > start - MINUTE, table.c.at <= end, condition
        )
        for table, condition in ((minute, true()), (dirty, dirty.c.length == MINUTE))
    ]
    found = union_all(*places).subquery()
    first, last = (select(bound).scalar_subquery() for bound in (func.min(found.c[0]), func.max(found.c[1])))
    return (sample.c.machine_id == machine_id) & sample.c.sampled_at.between(first, last)


def history(
    engine: Engine,
    machine_id: int,
    *,
    start: int,
    end: int,
    step: int,
    resolution: Resolution = SAMPLES,
    extras: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """History after `start` until `end`, one row for each `step` milliseconds, oldest first, as {"at": …, name: value}.

    Readings are averaged, counters keep their highest value. `at` is the server's clock: the last sample in the step,
    or the start of the last minute or hour in it. Roll-ups also have the lowest and the highest reading, as
    "name:min" and "name:max".
    """
    if resolution == SAMPLES:
        table: Table = sample
        at: ColumnElement[int] = sample.c.sampled_at + sample.c.clock_offset_milliseconds
        columns = _of_samples(extras)
        place = sampled_within(machine_id, start, end)
    else:
        table = metadata.tables[resolution.table]
        at = table.c.at
        columns = _of_rollups(table, extras, whole_until=end - resolution.length)
        place = table.c.machine_id == machine_id
    bucket = (at // step).label("bucket")
    query = (
        select(bucket, func.max(at).label("at"), *columns)
        .where(place, at > start, at <= end)
        .group_by(bucket)
        .order_by(bucket)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _of_samples(extras: Sequence[str]) -> Iterator[ColumnElement[Any]]:
    for name in _GAUGES:
        yield func.avg(as_float(sample.c[name])).label(name)
    for name in _COUNTERS:
        yield func.max(sample.c[name]).label(name)
    for name in extras:
        yield func.avg(sample.c.extra[name].as_float()).label(f"extra.{name}")


def _of_rollups(table: Table, extras: Sequence[str], *, whole_until: int) -> Iterator[ColumnElement[Any]]:
    """A counter is not read from a row that began after `whole_until`: its stretch has not ended."""
    for name in _GAUGES:
        of = table.c
        yield from _merged(name, of[f"{name}_count"], of[f"{name}_min"], of[f"{name}_avg"], of[f"{name}_max"])
    for name in _COUNTERS:
        yield func.max(case((table.c.at <= whole_until, table.c[f"{name}_max"]))).label(name)
    for name in extras:
        parts = [table.c.extra[name, place].as_float() for place in (_COUNT, _MINIMUM, _AVERAGE, _MAXIMUM)]
        yield from _merged(f"extra.{name}", *parts)


def _merged(
    name: str,
    count: ColumnElement[Any],
    minimum: ColumnElement[Any],
    average: ColumnElement[Any],
    maximum: ColumnElement[Any],
) -> Iterator[ColumnElement[Any]]:
    yield (func.sum(cast(average, Float) * count) / func.nullif(func.sum(cast(count, Float)), 0.0)).label(name)
    yield func.min(minimum).label(f"{name}:min")
    yield func.max(maximum).label(f"{name}:max")
