"""Forecasts of disks that are made beside the intake, on both databases."""

import pytest
from seeding import NOW, Fleet
from sqlalchemy import Engine, insert, select

from ingestor.history.disk_forecasts import CHECK_EVERY, EVERY, MACHINES_MAX, PAUSE, DiskForecasts
from ingestor.storage.store import Store
from schemas.database import tables
from schemas.fleet.forecast import DAY
from schemas.fleet.history import HOUR


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def fleet(database: Engine) -> Fleet:
    return Fleet(database)


def disk_hours(fleet: Fleet, machine_id: int, percent_per_day: float, *, days: int = 10) -> None:
    """Insert four hours of each of the last days, of a disk that grows from 50 %."""
    base: dict[str, float] = {column.name: 0 for column in tables.hour.c if column.name.endswith("_count")}
    rows = []
    for quarter in range(days * 4):
        used = 50 + percent_per_day * quarter / 4
        row = {**base, "machine_id": machine_id, "at": (NOW // DAY - days) * DAY + quarter * 6 * HOUR, "samples": 360}
        row |= {"disk_percent_count": 360, "disk_percent_avg": used, "disk_percent_min": used, "disk_percent_max": used}
        rows.append(row)
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.hour), rows)


def stored(fleet: Fleet) -> dict[int, tuple[str, int | None, int]]:
    with fleet.engine.connect() as connection:
        rows = connection.execute(select(tables.disk_forecast)).all()
    return {row.machine_id: (row.outlook, row.full_at, row.made_at) for row in rows}


def test_each_machine_has_a_forecast_also_where_nothing_can_be_foreseen(fleet: Fleet) -> None:
    growing, still, new = fleet.machine("growing"), fleet.machine("still"), fleet.machine("new")
    disk_hours(fleet, growing, 2.5)
    disk_hours(fleet, still, 0.0)
    forecasts = DiskForecasts(Store(fleet.engine, name="one", dead_letter_max=10))
    assert not forecasts.step(NOW)
    found = stored(fleet)
    assert (found[still][0], found[new][0]) == ("no-trend", "short")
    outlook, full_at, _made_at = found[growing]
    assert outlook == "full"
    assert full_at == pytest.approx(NOW + 10 * DAY, abs=2 * DAY)


def test_forecasts_are_made_some_at_a_time_and_again_after_some_hours(fleet: Fleet) -> None:
    for i in range(MACHINES_MAX + 2):
        fleet.machine(f"m-{i}")
    forecasts = DiskForecasts(Store(fleet.engine, name="one", dead_letter_max=10))
    assert not forecasts.step(NOW)
    assert not forecasts.step(NOW + PAUSE - 1)
    assert len(stored(fleet)) == MACHINES_MAX
    assert not forecasts.step(NOW + PAUSE)
    assert len(stored(fleet)) == MACHINES_MAX + 2
    late = fleet.machine("late")
    assert not forecasts.step(NOW + PAUSE + CHECK_EVERY - 1)
    assert late not in stored(fleet)
    forecasts.step(NOW + PAUSE + CHECK_EVERY)
    assert stored(fleet)[late][2] == NOW + PAUSE + CHECK_EVERY
    for second in range(3):
        forecasts.step(NOW + EVERY + 2 * CHECK_EVERY + second * PAUSE)
    assert min(made_at for _, _, made_at in stored(fleet).values()) >= NOW + EVERY + 2 * CHECK_EVERY
