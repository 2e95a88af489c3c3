"""The index of the samples on PostgreSQL, and the conditions for it."""

from pathlib import Path

import pytest
from seeding import Fleet
from sqlalchemy import Engine, MetaData, func, select, text
from sqlalchemy.exc import IntegrityError

import agent.collectors
from agent.collection.sample_runner import CollectorRunner
from agent.collector import discover
from ingestor.history.partitions import partitions
from runtime.settings.agent import AgentSettings
from schemas.database.sample_key import IF_NEW, ROWS, key_minute, sampled_between
from schemas.database.tables import sample
from schemas.fleet.history import MINUTE

INTEGER_MAX = 2**53 - 1
TIMES = [0, 1, MINUTE - 1, MINUTE, 1_700_000_000_000, 2**31 * MINUTE - 1, 2**31 * MINUTE, INTEGER_MAX - 1, INTEGER_MAX]


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def test_a_range_has_its_samples_and_no_others(database: Engine) -> None:
    fleet = Fleet(database)
    key = fleet.machine("attic")
    fleet.samples(key, TIMES)
    for first in TIMES:
        for last in TIMES:
            with database.connect() as connection:
                found = connection.scalars(select(sample.c.sampled_at).where(sampled_between(first, last)))
                assert sorted(found) == [time for time in TIMES if first <= time <= last]


def test_a_sample_is_stored_once_and_no_other_is_taken_for_it(database: Engine) -> None:
    key = Fleet(database).machine("attic")
    rows = [
        {"machine_id": key, "sampled_at": at, "stream_number": stream, "seq": seq, "delay_milliseconds": 0}
        for at in (1, MINUTE, INTEGER_MAX)
        for stream in (1, 2, 1000)
        for seq in (1, 2, 2**32, INTEGER_MAX)
    ]
    with database.begin() as connection:
        connection.execute(sample.insert(), rows)
        assert connection.scalar(select(func.count()).select_from(sample)) == len(rows)
    for row in rows:
        with pytest.raises(IntegrityError), database.begin() as connection:
            connection.execute(sample.insert(), row)


def test_postgresql_reads_the_minutes_of_a_range_from_the_index(database: Engine) -> None:
    if database.dialect.name == "sqlite":
        pytest.skip("SQLite reads the table itself, which is ordered by its key")
    with database.begin() as connection:
        for part in partitions(connection):  # days that other tests made
            connection.execute(text(f"DROP TABLE {part.name}"))
    fleet = Fleet(database)
    for key in [fleet.machine(f"m{number}") for number in range(5)]:
        fleet.samples(key, [fleet.now - 10_000 * i for i in range(500)])
    query = select(sample.c.seq).where(sample.c.machine_id == key, sampled_between(fleet.now - MINUTE, fleet.now))
    newest = select(sample.c.seq).where(sample.c.machine_id == key).order_by(
        key_minute(sample.c.sampled_at).desc(), sample.c.sampled_at.desc()
    )  # fmt: skip
    with database.begin() as connection:
        connection.execute(text(f"ANALYZE {ROWS}"))
        for asked, expected in ((query, "LEAST(GREATEST("), (newest.limit(1), "Incremental Sort")):
            compiled = asked.compile(dialect=database.dialect)
            plan = connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params).scalars().all()
            conditions = [line for line in plan if "Index Cond" in line or "Sort" in line]
            assert any(expected in line for line in conditions), "\n".join(plan)


def test_the_readings_of_this_machine_fit_the_columns_of_a_packed_row(database: Engine, tmp_path: Path) -> None:
    if database.dialect.name == "sqlite":
        pytest.skip("SQLite packs rows itself")
    settings = AgentSettings(data=tmp_path, machine="attic")
    vitals, _ = CollectorRunner(discover(agent.collectors, settings), timeout_seconds=30).collect()
    readings = {name: value for name, value in vitals if value is not None}
    assert {"memory_used_bytes", "uptime_seconds", "process_count"} <= readings.keys()
    fleet = Fleet(database)
    fleet.samples(fleet.machine("attic"), [fleet.now], **readings)
    with database.connect() as connection:
        assert connection.scalar(text(f"SELECT rest FROM {ROWS}")) == ""  # noqa: S608 - a name of ours


def test_a_sample_that_is_stored_already_is_left_as_it_is(database: Engine) -> None:
    if database.dialect.name == "sqlite":
        pytest.skip("SQLite has no such view")
    fleet = Fleet(database)
    key = fleet.machine("attic")
    fleet.samples(key, [fleet.now], process_count=5)
    again = sample.to_metadata(MetaData(), name=IF_NEW).insert()
    row = {"machine_id": key, "stream_number": 1, "seq": 1, "delay_milliseconds": 0, "process_count": 7}
    with database.begin() as connection:
        connection.execute(again, [row | {"sampled_at": at} for at in (fleet.now, fleet.now + MINUTE)])
        found = connection.scalars(select(sample.c.process_count).order_by(sample.c.sampled_at))
        assert list(found) == [5, 7]
