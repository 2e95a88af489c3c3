"""The history of devices: readings of blocks and rows alike, and roll-ups where those are deleted."""

from functools import partial

import pytest
from series import START, SeriesKeeper, with_series
from sqlalchemy import Engine
from sqlalchemy.event import listen

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from schemas.database.series import history
from schemas.database.series.history import TooManyStepsError, read_device_history
from schemas.database.series.stored_series import each_block, each_roll_up, read_blocks, read_roll_ups
from schemas.fleet.history import DAY, HOUR, HOURS, MINUTE, SAMPLES, Resolution

METRICS = ["disk_used_percent", "network_received_bytes"]
COUNTERS = ["network_received_bytes"]


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def keeper(database: Engine) -> SeriesKeeper:
    add_org(database, "home", now=lambda: 0)
    add_principal(database, Principal(Role.MACHINE, "home", "attic"), "made-up", now=lambda: 0)
    keeper = SeriesKeeper(database)
    for minute in range(150):
        series: dict[str, dict[str, float | None]] = {
            "disk_used_percent": {"/": 40.0, "/data": minute / 2},
            "network_received_bytes": {"eth0": 100 * minute},
            "sensor_celsius": {"Core 0": 50.0},
        }
        keeper.write(with_series(1, START + minute * MINUTE, minute + 1, series))
    keeper.tend(hours=2.1)
    return keeper


def test_readings_are_averaged_within_a_step_and_counters_have_their_highest_value(keeper: SeriesKeeper) -> None:
    assert (keeper.count("series_hour"), keeper.count("series_sample")) == (2, 30)
    found = read_device_history(
        keeper.engine,
        1,
        METRICS,
        start=START - 1,
        end=START + 150 * MINUTE,
        step=10 * MINUTE,
        resolution=SAMPLES,
        counters=COUNTERS,
    )
    assert set(found) == set(METRICS)
    data, received = found["disk_used_percent"]["/data"], found["network_received_bytes"]["eth0"]
    assert len(data) == len(received) == 15
    assert data[0] == {"at": START + 9 * MINUTE, "value": 2.25}
    assert data[-1] == {"at": START + 149 * MINUTE, "value": 72.25}
    assert received[-1] == {"at": START + 149 * MINUTE, "value": 14_900}


def test_only_the_time_that_is_asked_for_is_returned(keeper: SeriesKeeper) -> None:
    start, end = START + 58 * MINUTE, START + 61 * MINUTE
    found = read_device_history(
        keeper.engine, 1, ["disk_used_percent"], start=start, end=end, step=MINUTE, resolution=SAMPLES
    )
    assert [row["at"] for row in found["disk_used_percent"]["/"]] == [start + MINUTE, start + 2 * MINUTE, end]


def test_long_ranges_are_hours_with_their_lowest_and_highest_reading(keeper: SeriesKeeper) -> None:
    keeper.tend(hours=20 * 24)
    assert keeper.count("series_hour") == 0
    found = read_device_history(
        keeper.engine,
        1,
        METRICS,
        start=START - 1,
        end=START + 3 * HOUR,
        step=HOUR,
        resolution=HOURS,
        counters=COUNTERS,
    )
    data = found["disk_used_percent"]["/data"]
    assert [(row["at"] - START) // HOUR for row in data] == [0, 1, 2]
    assert data[0] == {"at": START, "value": pytest.approx(14.75), "value:min": 0.0, "value:max": 29.5}
    assert [row["value"] for row in found["network_received_bytes"]["eth0"]] == [5900, 11_900, 14_900]


@pytest.mark.parametrize("start", [START, START + 17 * MINUTE, START - 40 * DAY])
def test_reading_day_after_day_returns_what_is_read_at_once(keeper: SeriesKeeper, start: int) -> None:
    end = START + 149 * MINUTE
    at_once = read_blocks(keeper.engine, 1, start=start, end=end, metrics=METRICS)
    assert [*each_block(keeper.engine, 1, start=start, end=end, metrics=METRICS)] == at_once
    keeper.tend(hours=20 * 24)
    roll_ups = read_roll_ups(keeper.engine, 1, start=start, end=end, metrics=METRICS)
    assert roll_ups
    assert [*each_roll_up(keeper.engine, 1, start=start, end=end, metrics=METRICS)] == [*roll_ups.items()]


@pytest.mark.parametrize("resolution", [SAMPLES, HOURS])
def test_a_time_without_readings_costs_a_few_queries_however_long_it_is(
    keeper: SeriesKeeper, resolution: Resolution
) -> None:
    if resolution == HOURS:
        keeper.tend(hours=20 * 24)
    read = partial(read_device_history, keeper.engine, 1, METRICS, step=HOUR, resolution=resolution)
    queries: list[str] = []
    listen(keeper.engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    end = START + 149 * MINUTE
    found = read(start=0, end=10**15)
    assert found == read(start=START - DAY, end=START + DAY)
    assert found["disk_used_percent"]
    assert read(start=end - DAY, end=end) == read(start=end - DAY, end=end + 7)
    assert read(start=0, end=START - 7) == {}
    assert len(queries) <= 40


def test_a_history_with_more_steps_than_are_taken_is_not_read_to_its_end(
    keeper: SeriesKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def note(at: int) -> int:
        read.append(at)
        return at

    blocks = [*each_block(keeper.engine, 1, start=START, end=START + DAY, metrics=["disk_used_percent"])]
    monkeypatch.setattr(history, "each_block", lambda *_, **__: (blocks[note(place)] for place in range(len(blocks))))
    read_minutes = partial(
        read_device_history,
        keeper.engine,
        1,
        ["disk_used_percent"],
        start=START - 1,
        end=START + 150 * MINUTE,
        step=MINUTE,
        resolution=SAMPLES,
    )
    with pytest.raises(TooManyStepsError):
        read_minutes(steps_max=100)
    assert read == [0], "the first hour has 120 steps"
    assert sum(map(len, read_minutes(steps_max=300)["disk_used_percent"].values())) == 300
