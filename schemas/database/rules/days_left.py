"""Stored forecasts of disks and file systems, which the ingestor makes some times a day."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Engine, Row, select

from schemas.alerts.device_readings import MeasuredValue
from schemas.database.queries.fetch import fetch_all, fetch_where_in
from schemas.database.tables import disk_forecast, machine, mount_forecast, org
from schemas.fleet.forecast import DAY, Outlook


def read_days_left(engine: Engine, machine_keys: Sequence[int], now: int) -> dict[int, float]:
    """Return the number of days until each disk is full, infinity if it is not filling.

    A machine without a forecast, or with too few days for one, is left out.
    """
    query = select(disk_forecast.c.machine_id, disk_forecast.c.full_at).where(disk_forecast.c.outlook != Outlook.SHORT)
    rows = fetch_where_in(engine, query, disk_forecast.c.machine_id, machine_keys)
    return {row.machine_id: _days_left(row.full_at, now) for row in rows}


def read_mounts_left(engine: Engine, machine_keys: Sequence[int], now: int) -> dict[int, dict[str, float]]:
    """Return the same for each file system of these machines, by machine and mount point."""
    columns = (mount_forecast.c.machine_id, mount_forecast.c.mount, mount_forecast.c.full_at)
    query = select(*columns).where(mount_forecast.c.outlook != Outlook.SHORT)
    found: dict[int, dict[str, float]] = {}
    for row in fetch_where_in(engine, query, mount_forecast.c.machine_id, machine_keys):
        found.setdefault(row.machine_id, {})[row.mount] = _days_left(row.full_at, now)
    return found


def soonest_full(pattern: str, mounts: Mapping[str, float]) -> MeasuredValue:
    """Return the days left of the file system that is full first, of those that match a pattern."""
    found = [(days, mount) for mount, days in mounts.items() if fnmatchcase(mount, pattern)]
    return MeasuredValue(*min(found)) if found else MeasuredValue(None)


def read_mount_forecasts(engine: Engine, org_name: str, machine_name: str) -> list[Row[Any]]:
    """Return the forecasts of the file systems of a machine."""
    joined = mount_forecast.join(machine).join(org, org.c.id == machine.c.org_id)
    mine = (org.c.name == org_name, machine.c.name == machine_name)
    return fetch_all(engine, select(mount_forecast).select_from(joined).where(*mine))


def _days_left(full_at: int | None, now: int) -> float:
    return math.inf if full_at is None else max(0.0, (full_at - now) / DAY)
