"""Forecasts of disks that are made beside the intake, on both databases."""

import pytest
from seeding import NOW, Fleet
from series import SeriesKeeper, with_series
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


def test_each_file_system_of_the_newest_hour_has_a_forecast_of_its_own(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestor.history.disk_forecasts.MOUNTS_MAX", 2)
    attic, other = fleet.machine("attic"), fleet.machine("other")
    keeper = SeriesKeeper(fleet.engine, now=NOW - 10 * DAY)
    for day in range(10):
        used: dict[str, float | None] = {"/": 40.0, "/data": 50 + 2.5 * day, "/srv": 1.0}
        gone: dict[str, float | None] = {"/gone": 90.0} if day < 9 else {}
        keeper.write(with_series(attic, NOW - (10 - day) * DAY, day + 1, {"disk_used_percent": used | gone}))
    keeper.finish()
    forecasts = DiskForecasts(Store(fleet.engine, name="one", dead_letter_max=10))
    forecasts.step(NOW)
    found = mounts(fleet)
    assert {mount: outlook for (_, mount), (outlook, _) in found.items()} == {"/": "no-trend", "/data": "full"}
    assert found[attic, "/data"][1] == pytest.approx(NOW + 10 * DAY, abs=2 * DAY)
    assert other not in {machine for machine, _ in found}
    forecasts.step(NOW + EVERY)
    assert mounts(fleet).keys() == found.keys()


def mounts(fleet: Fleet) -> dict[tuple[int, str], tuple[str, int | None]]:
    with fleet.engine.connect() as connection:
        rows = connection.execute(select(tables.mount_forecast)).all()
    return {(row.machine_id, row.mount): (row.outlook, row.full_at) for row in rows}
