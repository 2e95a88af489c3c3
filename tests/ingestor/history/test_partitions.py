"""Samples by day on PostgreSQL: each has a place, a day goes at once, and what is left is what nobody may lose."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from rollups import START, STEPS, Keeper, Step, arrived, count, follow, tend
from sqlalchemy import Engine, select, text, update

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from ingestor.history.partitions import DAYS_AHEAD, DAYS_BACK, Partition, partitions
from schemas.database import tables
from schemas.database.engine import open_engine
from schemas.fleet.history import DAY, HOUR, MINUTE

MIDNIGHT = (START // DAY + 1) * DAY
"""The end of the day that the tests begin in."""


@pytest.fixture
def database_url(postgresql_empty_url: str) -> str:
    return postgresql_empty_url


@pytest.fixture
def keeper(database: Engine) -> Keeper:
    """A store without a day, as after the first start."""
    with database.begin() as connection:
        for part in partitions(connection):
            connection.execute(text(f"DROP TABLE {part.name}"))
    for org in ("home", "office"):
        add_org(database, org, now=lambda: 0)
        add_principal(database, Principal(Role.MACHINE, org, "attic"), "made-up", now=lambda: 0)
    return Keeper(database)


def days(keeper: Keeper) -> list[Partition]:
    with keeper.engine.connect() as connection:
        return partitions(connection)


def left(keeper: Keeper) -> list[int]:
    """When the samples that are there were taken, by the server's clock."""
    at = (tables.sample.c.sampled_at + tables.sample.c.clock_offset_milliseconds).label("at")
    with keeper.engine.connect() as connection:
        return list(connection.scalars(select(at).order_by(at)))


def rows_of(keeper: Keeper, part: str) -> int:
    with keeper.engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {part}")) or 0)  # noqa: S608 - a name of ours


def test_days_are_made_ahead_and_take_what_came_before_them(keeper: Keeper) -> None:
    keeper.write(arrived(1, START, 1), arrived(1, START + 30 * DAY, 2))
    assert rows_of(keeper, "sample_other") == 2
    tend(keeper)
    there = days(keeper)
    assert [part.name for part in there][:3] == ["sample_20231112", "sample_20231113", "sample_20231114"]
    assert all(before.end == after.first for before, after in pairwise(there))
    assert (there[0].first, there[-1].end) == (
        MIDNIGHT - (DAYS_BACK + 1) * DAY,
        (keeper.now // DAY + DAYS_AHEAD + 1) * DAY,
    )
    assert (rows_of(keeper, "sample_20231114"), rows_of(keeper, "sample_other")) == (1, 1)


def test_a_day_goes_at_once_when_nobody_keeps_any_of_it(keeper: Keeper) -> None:
    tend(keeper)
    keeper.write(*(arrived(1, MIDNIGHT + i * 10 * MINUTE, i + 1) for i in range(2 * 144)))
    keeper.now = MIDNIGHT + 3 * DAY - 3 * HOUR
    tend(keeper)
    assert count(keeper, "sample") == 2 * 144
    tend(keeper, hours=2)
    assert left(keeper) == [MIDNIGHT + DAY + i * 10 * MINUTE for i in range(144)]
    assert days(keeper)[0].first == MIDNIGHT + DAY
    keeper.check("minute", MINUTE)
    keeper.check("hour", HOUR)


def test_an_organisation_that_keeps_longer_keeps_the_day_and_what_others_have_in_it_goes_a_day_later(
    keeper: Keeper,
) -> None:
    with keeper.engine.begin() as connection:
        kept = {"samples_seconds": 10 * DAY // 1000}
        connection.execute(update(tables.org).where(tables.org.c.name == "office").values(retention=kept))
    tend(keeper)
    keeper.write(arrived(1, MIDNIGHT, 1), arrived(2, MIDNIGHT, 1))
    keeper.now = MIDNIGHT
    tend(keeper, hours=70)
    assert count(keeper, "sample") == 2
    tend(keeper, hours=3)
    assert count(keeper, "sample") == 1
    tend(keeper, hours=8 * 24)
    assert count(keeper, "sample") == 0
    assert days(keeper)[0].first == MIDNIGHT + DAY


def test_where_clocks_are_wrong_the_servers_decides_what_goes_with_a_day(keeper: Keeper) -> None:
    tend(keeper)
    stays = [
        arrived(1, MIDNIGHT + DAY, 1, offset=3 * HOUR),  # the machine took it for the day before
        arrived(1, MIDNIGHT + DAY + MINUTE, 2, offset=500 * DAY),
    ]
    goes = [
        arrived(1, MIDNIGHT + DAY - MINUTE, 3, offset=-3 * HOUR),  # the machine took it for the day after
        arrived(1, MIDNIGHT + HOUR, 4, offset=500 * DAY),
        arrived(1, MIDNIGHT + 2 * HOUR, 5),
    ]
    keeper.write(*stays, *goes)
    keeper.now = MIDNIGHT + 3 * DAY - HOUR
    tend(keeper)
    assert left(keeper) == [MIDNIGHT + DAY, MIDNIGHT + DAY + MINUTE]
    keeper.write(arrived(1, MIDNIGHT + DAY + MINUTE + 1, 6))  # the same minute, which is summed up anew
    tend(keeper)
    keeper.check("minute", MINUTE)
    tend(keeper, hours=48)
    assert left(keeper) == []


def test_what_comes_for_a_day_that_is_gone_is_added_once_and_not_kept(keeper: Keeper) -> None:
    tend(keeper)
    keeper.write(arrived(1, MIDNIGHT, 1, cpu=10.0), arrived(1, MIDNIGHT + 1, 2, cpu=20.0))
    tend(keeper, hours=100)
    assert count(keeper, "sample") == 0
    keeper.write(arrived(1, MIDNIGHT + 2, 3, cpu=60.0))
    tend(keeper)
    assert count(keeper, "sample") == 0
    keeper.check("minute", MINUTE)


def test_no_day_goes_before_all_of_it_is_rolled_up(keeper: Keeper) -> None:
    tend(keeper)
    keeper.write(arrived(1, MIDNIGHT, 1))
    while keeper.pruning.step(MIDNIGHT + 30 * DAY):
        pass
    assert count(keeper, "sample") == 1


@pytest.fixture
def reading(database: Engine) -> Iterator[Engine]:
    """Somebody who reads the samples for long."""
    engine = open_engine(database.url.render_as_string(hide_password=False), read_only=True)
    yield engine
    engine.dispose()


def test_a_day_that_is_being_read_goes_an_hour_later(keeper: Keeper, reading: Engine) -> None:
    tend(keeper)
    keeper.write(arrived(1, MIDNIGHT, 1))
    keeper.now = MIDNIGHT + 3 * DAY
    with reading.connect() as connection:
        assert connection.scalar(select(tables.sample.c.seq)) == 1
        while keeper.step():
            pass
        assert count(keeper, "sample") == 1
    tend(keeper)
    assert count(keeper, "sample") == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_hours_stay_what_summing_up_from_scratch_gives_however_late_samples_come(
    keeper: Keeper, steps: list[Step]
) -> None:
    follow(keeper.engine, steps)
