"""The newest series of machines, with their time.

Invariant: every query is scoped to the name of an organisation, except the one of the command line, which lists all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Engine, Select, select
from sqlalchemy.engine import Connection

from schemas.database.newest_series import newest_row
from schemas.database.queries.fetch import fetch_all
from schemas.database.queries.machines import list_machines
from schemas.database.series.stored_series import known_readings
from schemas.database.tables import machine, mount_forecast, org, series_sample
from schemas.fleet.forecast import DAY, Outlook


@dataclass(frozen=True, slots=True)
class LatestSeries:
    """Readings by metric and device. `as_of`: their time in milliseconds of the server's clock."""

    as_of: int
    readings: Mapping[str, Mapping[str, float]]


def read_latest(engine: Engine, org_name: str, names: Sequence[str]) -> dict[str, LatestSeries]:
    """Return the newest series of these machines by name; a machine without series is missing."""
    query = _newest().where(org.c.name == org_name, machine.c.name.in_(names))
    return {row.name: found for row in fetch_all(engine, query) if (found := _latest(row)) is not None}


def list_machines_with_series(engine: Engine, *, now: int, trouble: str = "") -> list[dict[str, Any]]:
    """Return every machine as `list_machines` does, with its newest series: `series` and the time `series_as_of`.

    `disk_days_left` are the days until each file system with a forecast is full; null: not within a year, or not known.
    """
    latest = {(row.org, row.name): _latest(row) for row in fetch_all(engine, _newest())}
    left = _days_left(engine, now)
    found = []
    for row in list_machines(engine, trouble=trouble):
        newest = latest.get((row["org"], row["machine"]))
        series = {} if newest is None else newest.readings
        days = left.get((row["org"], row["machine"]), {})
        found.append({**row, "series_as_of": newest and newest.as_of, "series": series, "disk_days_left": days})
    return found


def _days_left(engine: Engine, now: int) -> dict[tuple[str, str], dict[str, float | None]]:
    columns = (org.c.name.label("org"), machine.c.name, mount_forecast.c.mount, mount_forecast.c.full_at)
    joined = mount_forecast.join(machine).join(org, org.c.id == machine.c.org_id)
    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in fetch_all(engine, select(*columns).select_from(joined).where(mount_forecast.c.outlook != Outlook.SHORT)):
        days = None if row.full_at is None else round(max(0, row.full_at - now) / DAY, 1)
        found.setdefault((row.org, row.name), {})[row.mount] = days
    return found


def series_metrics(connection: Connection, org_name: str) -> set[str]:
    """Return the names of the metrics in the newest series of an organisation's machines."""
    rows = connection.execute(_newest().where(org.c.name == org_name))
    return {metric for row in rows if (found := _latest(row)) is not None for metric in found.readings}


def _newest() -> Select[Any]:
    at, readings = (newest_row(machine.c.id, series_sample.c[name]) for name in ("at", "readings"))
    columns = (org.c.name.label("org"), machine.c.name, at.label("at"), readings.label("readings"))
    return select(*columns).select_from(machine.join(org))


def _latest(row: Any) -> LatestSeries | None:  # noqa: ANN401 - a row of `_newest`
    return None if row.readings is None else LatestSeries(row.at, known_readings(from_json(row.readings)))
