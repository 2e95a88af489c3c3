"""Series at rest: what is read back equals what was sent, late, twice, out of order or after a crash."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readings import Devices
from series import SERIES, START, Readings, SeriesKeeper, with_series
from servers import postgresql
from sqlalchemy import Engine, select, text, update

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from ingestor.history import series_hours
from ingestor.storage.series_rows import CLOSE_DELAY
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.database.series.latest import read_latest
from schemas.database.series.stored_series import read_samples
from schemas.fleet.history import DAY, HOUR, MINUTE
from schemas.series import sample_block

DATA: Readings = {"disk_used_percent": {"/data": 91.5}}


def fill(engine: Engine) -> SeriesKeeper:
    """Two machines, with the numbers 1 and 2."""
    add_org(engine, "home", now=lambda: 0)
    for name in ("attic", "cellar"):
        add_principal(engine, Principal(Role.MACHINE, "home", name), "made-up", now=lambda: 0)
    return SeriesKeeper(engine)


@pytest.fixture
def keeper(database: Engine) -> SeriesKeeper:
    return fill(database)


POINTS = st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 3 * HOUR), st.sampled_from([0, 0, HOUR, 40 * HOUR]), SERIES),
    min_size=1,
    max_size=20,
)
ACTS = st.lists(st.sampled_from(["write", "write again", "close", "wait", "restart"]), max_size=30)
Points = list[tuple[int, int, int, Readings]]


def play(keeper: SeriesKeeper, points: Points, acts: list[str]) -> None:
    keeper.empty()
    keeper.everything.clear()
    keeper.restart()
    keeper.now = START
    waiting = [
        with_series(machine, START + at, seq + 1, series, late=late)
        for seq, (machine, at, late, series) in enumerate(points)
    ]
    written = waiting[:0]
    for act in acts:
        if act == "write" and waiting:
            written = [waiting.pop()]
            keeper.write(*written)
        elif act == "write again" and written:
            keeper.write(*written)
        elif act == "close":
            keeper.hours.step(keeper.now)
        elif act == "wait":
            keeper.now += 35 * MINUTE
        elif act == "restart":
            keeper.restart()
    keeper.write(*waiting)
    keeper.check()
    keeper.finish()
    keeper.check()
    keeper.check_roll_ups()
    assert keeper.count("series_due") == 0
    assert keeper.count("series_sample") == len({key[0] for key in keeper.everything})


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=POINTS, acts=ACTS)
def test_what_is_read_equals_what_was_sent(keeper: SeriesKeeper, points: Points, acts: list[str]) -> None:
    play(keeper, points, acts)


@pytest.fixture(scope="module")
def on_postgresql() -> Iterator[SeriesKeeper]:
    with postgresql() as url:
        engine = open_engine(url)
        upgrade(engine)
        yield fill(engine)
        engine.dispose()


@settings(deadline=None, max_examples=15)
@given(points=POINTS, acts=ACTS)
def test_it_is_the_same_on_postgresql(on_postgresql: SeriesKeeper, points: Points, acts: list[str]) -> None:
    play(on_postgresql, points, acts)


def test_an_hour_is_closed_some_minutes_after_its_end_and_its_newest_row_stays(keeper: SeriesKeeper) -> None:
    keeper.write(*(with_series(1, START + minute * MINUTE, minute + 1, DATA) for minute in range(60)))
    keeper.tend(hours=1)
    assert (keeper.count("series_sample"), keeper.count("series_hour")) == (60, 0)
    keeper.now += CLOSE_DELAY
    keeper.tend()
    assert (keeper.count("series_sample"), keeper.count("series_hour")) == (1, 1)
    assert read_latest(keeper.engine, "home", ["attic", "cellar"])["attic"].readings == DATA
    keeper.write(with_series(1, START + HOUR, 61, DATA))
    keeper.tend(hours=2)
    assert (keeper.count("series_sample"), keeper.count("series_hour")) == (1, 2)
    keeper.check()


def test_the_hours_of_a_day_become_one_roll_up_when_it_is_over(keeper: SeriesKeeper) -> None:
    day = START // DAY * DAY
    keeper.now = day
    for hour in range(25):
        keeper.write(with_series(1, day + hour * HOUR, hour + 1, DATA))
        keeper.tend(hours=1)
    keeper.tend(hours=1)
    with keeper.engine.connect() as connection:
        lengths = sorted(connection.scalars(select(tables.series_rollup.c.length)))
    assert lengths == [HOUR, DAY]
    keeper.check_roll_ups()


def test_late_readings_of_an_hour_whose_blocks_are_deleted_are_added_to_its_roll_up(keeper: SeriesKeeper) -> None:
    keeper.write(with_series(1, START, 1, DATA), with_series(1, START + MINUTE, 2, DATA))
    keeper.tend(hours=15 * 24)
    assert [keeper.count(name) for name in ("series_sample", "series_hour", "series_rollup")] == [0, 0, 1]
    keeper.write(with_series(1, START + 2 * MINUTE, 3, {"disk_used_percent": {"/data": 10.0}}, late=15 * DAY))
    keeper.tend(hours=1)
    assert keeper.count("series_hour") == 0
    keeper.check_roll_ups()
    keeper.tend(hours=24)
    assert keeper.count("series_sample") == 0


def test_series_are_kept_as_long_as_the_organisation_says(keeper: SeriesKeeper) -> None:
    kept = {"samples_seconds": 3600, "minutes_seconds": 7200, "hours_seconds": 3 * 86_400}
    with keeper.engine.begin() as connection:
        connection.execute(update(tables.org).values(retention=kept))
    keeper.write(with_series(1, START, 1, DATA), with_series(1, START + 3 * HOUR, 2, DATA))
    keeper.tend(hours=4.5)
    assert [sample.seq for sample in read_samples(keeper.engine, 1, start=0, end=2**62)] == [2]
    assert keeper.count("series_rollup") == 2
    keeper.tend(hours=4 * 24)
    keeper.tend(hours=1)
    assert [keeper.count(name) for name in ("series_sample", "series_hour", "series_rollup")] == [0, 0, 0]


def test_a_flood_fills_several_bounded_blocks_and_then_nothing(
    keeper: SeriesKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (("ROWS_MAX", 5), ("READINGS_MAX", 8), ("PARTS_MAX", 3)):
        monkeypatch.setattr(series_hours, name, value)
    samples = [with_series(1, START + seq, seq, DATA) for seq in range(1, 41)]
    keeper.write(*samples)
    keeper.finish()
    assert keeper.count("series_hour") == 3
    with keeper.engine.connect() as connection:
        assert max(connection.scalars(select(tables.series_hour.c.readings))) <= 8
    assert "too many series in one hour" in caplog.text
    found = read_samples(keeper.engine, 1, start=0, end=2**62)
    assert [sample.seq for sample in found] == [*range(1, len(found)), 40]


def test_readings_of_too_many_devices_in_an_hour_are_left_out_and_reported(
    keeper: SeriesKeeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (series_hours, sample_block):
        monkeypatch.setattr(module, "PLACES_MAX", 3)
    series: Readings = {"disk_used_percent": {f"/{number}": 1.0 for number in range(5)}}
    keeper.write(with_series(1, START, 1, series), with_series(1, START + HOUR, 2, DATA))
    keeper.finish()
    assert "machine 1 has more than 3 metrics and devices in one hour: 2 readings are not kept" in caplog.text


def test_a_removed_machine_takes_its_series_with_it(keeper: SeriesKeeper) -> None:
    keeper.write(with_series(1, START, 1, DATA))
    keeper.tend(hours=2)
    with keeper.engine.begin() as connection:
        connection.execute(tables.machine.delete())
    assert [keeper.count(name) for name in ("series_sample", "series_hour", "series_rollup")] == [0, 0, 0]


def test_a_day_of_sixty_readings_a_minute_takes_at_most_three_bytes_a_reading(keeper: SeriesKeeper) -> None:
    day, devices = START // DAY * DAY, Devices()
    for hour in range(24):
        at = day + hour * HOUR
        rows = [with_series(1, at + minute * MINUTE, hour * 60 + minute + 1, devices.read()) for minute in range(60)]
        keeper.write(*rows)
    keeper.now = day + DAY + HOUR
    keeper.tend()
    with keeper.engine.connect() as connection:
        found = connection.execute(text("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        pages: dict[str, int] = {row[0]: row[1] for row in found}
        readings = sum(connection.scalars(select(tables.series_hour.c.readings)))
    size, roll_up = (sum(pages[name] for name in pages if table in name) for table in ("series_hour", "series_rollup"))
    each = size / readings
    year = 1000 * (size * 14 + roll_up * 400) / 1e9
    print(f"{each:.2f} bytes each, {roll_up / 1440:.1f} bytes of roll-up for an hour of each: {year:.1f} GB a year")
    assert readings == 24 * 3600
    assert each <= 3
    assert year <= 12
