import json
from typing import Any

import pytest
from rollups import START, Keeper, arrived
from seeding import NOW, Fleet
from sqlalchemy import Engine, event, insert, select

from dashboard.widgets import charts
from schemas.database import tables
from schemas.database.queries import history
from schemas.fleet.history import HOUR, HOURS, MINUTE, MINUTES, Resolution

DAY = 24 * HOUR


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def summarised(table: str, machine_id: int, at: int) -> dict[str, Any]:
    """Return a roll-up row with one CPU reading."""
    row: dict[str, Any] = {"machine_id": machine_id, "at": at, "samples": 1}
    row |= {"sampled_from": at, "sampled_to": at} if table == "minute" else {}
    row |= {column.name: 0 for column in tables.metadata.tables[table].c if column.name.endswith("_count")}
    return row | {"cpu_percent_count": 1, "cpu_percent_min": 1.0, "cpu_percent_avg": 1.0, "cpu_percent_max": 1.0}


def test_history_is_averaged_over_steps_and_counters_keep_their_highest(fleet: Fleet, reader: Engine) -> None:
    key = fleet.machine("a")
    start = NOW - NOW % MINUTE
    fleet.samples(
        key,
        [start + i * 10_000 for i in range(12)],
        cpu_percent=lambda i: float(i),
        network_sent_bytes=lambda i: i * 100,
        extra=lambda i: {"fan_rpm": 1000.0 + i},
    )
    rows = history.read_history(reader, key, start=start - 1, end=start + 2 * MINUTE, step=MINUTE, extras=["fan_rpm"])
    assert [row["at"] for row in rows] == [start + 50_000, start + 110_000]
    assert [row["cpu_percent"] for row in rows] == [2.5, 8.5]
    assert [row["network_sent_bytes"] for row in rows] == [500, 1100]
    assert [row["extra.fan_rpm"] for row in rows] == [1002.5, 1008.5]


def test_history_is_by_the_servers_clock(fleet: Fleet, reader: Engine) -> None:
    key = fleet.machine("a")
    fleet.samples(key, [NOW - 90 * MINUTE], cpu_percent=1.0, clock_offset_milliseconds=89 * MINUTE)
    rows = history.read_history(reader, key, start=NOW - 2 * MINUTE, end=NOW, step=1000)
    assert [row["at"] for row in rows] == [NOW - MINUTE]


def test_a_metric_that_a_sample_lacks_is_missing_not_zero(fleet: Fleet, reader: Engine) -> None:
    key = fleet.machine("a")
    fleet.samples(key, [NOW], cpu_percent=1.0, extra={"other": 1.0})
    (row,) = history.read_history(reader, key, start=NOW - 1, end=NOW, step=1000, extras=["fan_rpm"])
    assert row["extra.fan_rpm"] is None
    assert row["memory_percent"] is None


@pytest.mark.parametrize(("kept", "step"), [(MINUTES, 2 * MINUTE), (HOURS, 2 * HOUR)])
def test_rollups_are_averaged_by_their_readings_and_keep_their_extremes(
    fleet: Fleet, reader: Engine, kept: Resolution, step: int
) -> None:
    key, length = fleet.machine("a"), kept.length
    start = START // step * step
    keeper = Keeper(fleet.engine)
    keeper.write(
        arrived(key, start + 1, 1, cpu=10.0, extra=1000.0),
        arrived(key, start + 2, 2, cpu=20.0, extra=None),
        arrived(key, start + 3, 3, cpu=30.0, extra=1100.0),
        arrived(key, start + length + 1, 4, cpu=100.0, extra=1800.0),
    )
    keeper.finish()
    end = start + step
    (row,) = history.read_history(
        reader, key, start=start - 1, end=end, step=step, resolution=kept, extras=["fan_rpm", "unknown"]
    )
    assert row["at"] == start + length
    assert [row["cpu_percent"], row["cpu_percent:min"], row["cpu_percent:max"]] == [40.0, 10.0, 100.0]
    assert [row[f"extra.fan_rpm{which}"] for which in ("", ":min", ":max")] == [1300.0, 1000.0, 1800.0]
    assert [row[f"extra.unknown{which}"] for which in ("", ":min", ":max")] == [None, None, None]
    assert [row[f"memory_percent{which}"] for which in ("", ":min", ":max")] == [None, None, None]
    assert row["network_sent_bytes"] == 4
    json.dumps(row, allow_nan=False)


def test_a_counter_is_not_read_from_an_hour_that_has_not_ended(fleet: Fleet, reader: Engine) -> None:
    key, keeper = fleet.machine("a"), Keeper(fleet.engine)
    keeper.write(arrived(key, START + 1, 7), arrived(key, START + HOUR + 1, 8))
    keeper.finish()
    end = START + HOUR + 20 * MINUTE
    rows = history.read_history(reader, key, start=START - 1, end=end, step=HOUR, resolution=HOURS)
    assert [row["network_sent_bytes"] for row in rows] == [7, None]
    assert [row["cpu_percent"] for row in rows] == [1.0, 1.0]


def test_where_nothing_was_stored_rollups_have_no_row_and_the_chart_a_gap(fleet: Fleet, reader: Engine) -> None:
    key, keeper = fleet.machine("a"), Keeper(fleet.engine)
    keeper.write(*(arrived(key, START + hour * HOUR, hour + 1) for hour in (0, 1, 6, 7)))
    keeper.finish()
    rows = history.read_history(reader, key, start=START - 1, end=START + 9 * HOUR, step=HOUR, resolution=HOURS)
    assert [(row["at"] - START) // HOUR for row in rows] == [0, 1, 6, 7]
    points = charts.readings(rows, "cpu_percent:max", spacing=charts.spacing(HOUR, 10.0))
    assert [value for _, value in points] == [1.0, 1.0, None, 1.0, 1.0]


@pytest.mark.parametrize(("kept", "days"), [(MINUTES, 7), (HOURS, 365)])
def test_a_full_history_is_grouped_to_what_a_chart_shows(
    fleet: Fleet, reader: Engine, kept: Resolution, days: int
) -> None:
    key, length = fleet.machine("a"), days * DAY
    rows = [summarised(kept.table, key, START - age) for age in range(0, length, kept.length)]
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.metadata.tables[kept.table]), rows)
    step = charts.step(length, 10.0, kept.length)
    found = history.read_history(reader, key, start=START - length, end=START, step=step, resolution=kept)
    assert len(rows) > charts.POINTS_MAX
    assert 900 <= len(found) <= charts.POINTS_MAX
    points = charts.readings(found, "cpu_percent", spacing=charts.spacing(step, 10.0))
    assert all(value is not None for _, value in points)


def test_another_machines_rollups_are_not_read(fleet: Fleet, reader: Engine) -> None:
    mine, other = fleet.machine("mine"), fleet.machine("other")
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.hour), [summarised("hour", other, START)])
    assert not history.read_history(reader, mine, start=0, end=START, step=HOUR, resolution=HOURS)


def test_readings_that_are_whole_numbers_have_an_average_a_chart_can_take(fleet: Fleet, reader: Engine) -> None:
    key = fleet.machine("a")
    fleet.samples(key, [NOW - 1, NOW], process_count=lambda i: 100 + i)
    (row,) = history.read_history(reader, key, start=NOW - 2 * MINUTE, end=NOW, step=DAY)
    assert (type(row["process_count"]), row["process_count"]) == (float, 100.5)


def test_the_last_whole_minutes_of_many_machines_are_one_query(fleet: Fleet, reader: Engine) -> None:
    fleet.minutes(fleet.machine("a"), [99.0, 1.0, None, 3.0])
    fleet.minutes(fleet.machine("b"), [4.0])
    fleet.minutes(fleet.machine("a", org="other"), [50.0])
    asked: list[str] = []
    event.listen(reader, "before_cursor_execute", lambda *said: asked.append(said[2]))
    found = history.read_cpu_by_minute(reader, "home", ["a", "b", "c"], now=fleet.now, minutes=3)
    assert found == {"a": [1.0, None, 3.0], "b": [None, None, 4.0]}
    assert len([statement for statement in asked if "minute" in statement]) == 1


def test_samples_are_found_by_their_key_also_where_the_clock_is_wrong(fleet: Fleet) -> None:
    machine, week = fleet.machine("attic"), 7 * 24 * HOUR
    times = [fleet.now - week - 10_000 * i for i in range(2000)]
    fleet.samples(machine, times, load_1m=float, clock_offset_milliseconds=week)
    found = history.read_history(fleet.engine, machine, start=fleet.now - 60_000, end=fleet.now, step=1)
    assert sorted(row["load_1m"] for row in found) == [0, 1, 2, 3, 4, 5]
    place = history.sampled_within(machine, fleet.now - 60_000, fleet.now)
    with fleet.engine.connect() as connection:
        assert (
            len(connection.execute(select(tables.sample.c.seq).where(place)).all()) <= 18
        )  # three minutes of 2,000 samples


def test_the_disk_by_day_counts_each_reading_once(fleet: Fleet, reader: Engine) -> None:
    key, other, today = fleet.machine("a"), fleet.machine("b"), START // DAY * DAY
    rows = []
    for machine, at, count, percent in (
        (key, today, 1, 10.0),
        (key, today + HOUR, 3, 50.0),
        (key, today - DAY, 2, 7.0),
        (key, today - 40 * DAY, 2, 1.0),
        (key, today - 2 * DAY, 0, None),
        (other, today, 9, 99.0),
    ):
        rows.append({**summarised("hour", machine, at), "disk_percent_count": count, "disk_percent_avg": percent})
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.hour), rows)
    found = history.read_disk_by_day(reader, key, start=today - 30 * DAY)
    assert found == [(today - DAY, 7.0), (today, 40.0)]


def test_the_last_data_is_found_in_samples_and_in_rollups(fleet: Fleet, reader: Engine) -> None:
    key, other, old = fleet.machine("a"), fleet.machine("b"), START - 10 * HOUR
    assert history.last_recorded(reader, key, before=NOW) is None
    with fleet.engine.begin() as connection:
        connection.execute(insert(tables.hour), [summarised("hour", key, old), summarised("hour", other, START)])
    assert history.last_recorded(reader, key, before=NOW) == old + HOUR
    assert history.last_recorded(reader, key, before=old + 1) == old + 1
    assert history.last_recorded(reader, key, before=old) is None
    fleet.samples(key, [NOW - 90 * MINUTE, NOW - 20 * MINUTE], clock_offset_milliseconds=10 * MINUTE)
    assert history.last_recorded(reader, key, before=NOW) == NOW - 10 * MINUTE
    assert history.last_recorded(reader, key, before=NOW - 10 * MINUTE) == NOW - 80 * MINUTE
