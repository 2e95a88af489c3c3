"""Makes the forecasts of each machine's disk and file systems from its hours, in small steps, for pages and rules.

Invariants:
- A forecast is made anew every EVERY milliseconds; a machine that is new has one within CHECK_EVERY.
- A machine has forecasts of at most MOUNTS_MAX file systems: those of its newest hour, the fullest.
- A step reads the hours of at most MACHINES_MAX machines, and there is one step in PAUSE: 10,000 new machines have
  their forecasts after 34 minutes, without a burst.
"""

from heapq import nlargest
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Float, Select, cast, delete, func, insert, or_, select
from sqlalchemy.engine import Connection

from ingestor.storage.bulk import dialect_insert
from ingestor.storage.store import Store
from schemas.database.columns import as_float
from schemas.database.series.stored_series import each_roll_up
from schemas.database.tables import disk_forecast, hour, machine, mount_forecast
from schemas.fleet.forecast import DAY, forecast_disk
from schemas.fleet.history import HOUR, Summary
from schemas.series.daily_use import USED, DailyUse
from schemas.series.frame import Place

EVERY: Final = 6 * HOUR
CHECK_EVERY: Final = HOUR
"""Time between two searches for machines whose forecast is old, in milliseconds."""

DAYS: Final = 30
"""Part of the history that a forecast is made from."""

MACHINES_MAX: Final = 5
MOUNTS_MAX: Final = 64
PAUSE: Final = 1000
"""Time between two steps while more forecasts are due, in milliseconds: the work of a large fleet is spread."""


class DiskForecasts:
    """Makes the forecasts of a database that are due."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._insert: Any = dialect_insert(store.engine)
        self._check_at = 0

    def step(self, now: int) -> bool:
        """Make some forecasts; return False, since more are not made at once."""
        if now < self._check_at:
            return False
        with self._store.engine.connect() as connection:
            due = list(connection.execute(_due(now)).scalars())
        if due:
            mounts = [row for id_ in due for row in self._mounts(id_, now)]
            with self._store.begin() as connection:
                self._make(connection, due, now)
                connection.execute(delete(mount_forecast).where(mount_forecast.c.machine_id.in_(due)))
                if mounts:
                    connection.execute(insert(mount_forecast), mounts)
        self._check_at = now + (PAUSE if len(due) == MACHINES_MAX else CHECK_EVERY)
        return False

    def _mounts(self, machine_id: int, now: int) -> list[dict[str, Any]]:
        """Return the forecasts of a machine's file systems."""
        start = now - DAYS * DAY
        use, last = DailyUse(), dict[Place, Summary]()
        for at, summaries in each_roll_up(self._store.engine, machine_id, start=start, end=now, metrics=(USED,)):
            use.add(at, summaries)
            last = summaries
        newest = {device: summary.average for (_, device), summary in last.items()}
        fullest = nlargest(MOUNTS_MAX, newest, key=lambda device: (newest[device], device))
        days = use.by_device()
        made = [(device, forecast_disk([(at, summary.average) for at, summary in days[device]])) for device in fullest]
        return [
            {
                "machine_id": machine_id,
                "mount": device,
                "outlook": each.outlook.value,
                "per_day": each.per_day,
                "full_at": each.full_at,
            }
            for device, each in made
        ]

    def _make(self, connection: Connection, due: list[int], now: int) -> None:
        rows = list(connection.execute(_days(due, now - DAYS * DAY)))
        found = {id_: [(row.day * DAY, row.used) for row in days] for id_, days in groupby(rows, lambda row: row[0])}
        made = [(id_, forecast_disk(found.get(id_, []))) for id_ in due]
        statement = self._insert(disk_forecast)
        statement = statement.on_conflict_do_update(
            index_elements=["machine_id"],
            set_={name: statement.excluded[name] for name in ("outlook", "per_day", "full_at", "made_at")},
        )
        values = [
            {
                "machine_id": id_,
                "outlook": each.outlook.value,
                "per_day": each.per_day,
                "full_at": each.full_at,
                "made_at": now,
            }
            for id_, each in made
        ]
        connection.execute(statement, values)


def _due(now: int) -> Select[Any]:
    """The machines without a forecast, or with an old one."""
    joined = machine.outerjoin(disk_forecast, disk_forecast.c.machine_id == machine.c.id)
    old = or_(disk_forecast.c.made_at.is_(None), disk_forecast.c.made_at <= now - EVERY)
    return select(machine.c.id).select_from(joined).where(old).order_by(machine.c.id).limit(MACHINES_MAX)


def _days(due: list[int], start: int) -> Select[Any]:
    """The average use of the disk by machine and day, the oldest first."""
    day, count = (hour.c.at // DAY).label("day"), hour.c.disk_percent_count
    used = func.sum(as_float(hour.c.disk_percent_avg) * count) / func.sum(cast(count, Float))
    return (
        select(hour.c.machine_id, day, used.label("used"))
        .where(hour.c.machine_id.in_(due), hour.c.at >= start, count > 0)
        .group_by(hour.c.machine_id, day)
        .order_by(hour.c.machine_id, day)
    )
