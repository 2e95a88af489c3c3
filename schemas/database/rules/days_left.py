"""Stored forecasts of disks, which the ingestor makes some times a day."""

import math
from collections.abc import Sequence

from sqlalchemy import Engine, select

from schemas.database.queries.fetch import fetch_where_in
from schemas.database.tables import disk_forecast
from schemas.fleet.forecast import DAY, Outlook


def read_days_left(engine: Engine, machine_keys: Sequence[int], now: int) -> dict[int, float]:
    """Return the number of days until each disk is full, infinity if it is not filling.

    A machine without a forecast, or with too few days for one, is left out.
    """
    query = select(disk_forecast.c.machine_id, disk_forecast.c.full_at).where(disk_forecast.c.outlook != Outlook.SHORT)
    return {
        row.machine_id: math.inf if row.full_at is None else max(0.0, (row.full_at - now) / DAY)
        for row in fetch_where_in(engine, query, disk_forecast.c.machine_id, machine_keys)
    }
