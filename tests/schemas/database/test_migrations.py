"""What is stored before a migration is there after it, on both databases."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Engine, make_url, select, text

from ingestor.history.partitions import DAYS_AHEAD, make_day, parts, wanted
from runtime.urls import sqlite_url
from schemas.database.engine import _alembic_configuration, open_engine, upgrade
from schemas.database.tables import metadata, sample
from schemas.fleet.history import DAY


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without tables."""
    if request.param == "sqlite":
        engine = open_engine(sqlite_url(tmp_path / "old.db"))
    else:
        url = make_url(request.getfixturevalue("postgresql_url"))
        _on_server(url.render_as_string(), "DROP DATABASE IF EXISTS migrated", "CREATE DATABASE migrated")
        engine = open_engine(url.set(database="migrated").render_as_string())
    yield engine
    engine.dispose()


def _on_server(url: str, *statements: str) -> None:
    engine = open_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _bring_to(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        configuration = _alembic_configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, revision)


def test_samples_keep_their_readings_when_they_become_smaller(empty: Engine) -> None:
    _bring_to(empty, "0003")
    row = (
        "INSERT INTO sample (machine_id, sampled_at, stream_number, seq, received_at, clock_offset_milliseconds, "
        "cpu_percent, load_1m, temperature_celsius, memory_used_bytes, extra) VALUES (1, :at, 1, :seq, :received_at, "
        "7, :cpu, 0.29, -12.5, 17179869184, :extra)"
    )
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO org (id, name, config, created_at) VALUES (1, 'home', '{}', 1)"))
        connection.execute(text("INSERT INTO machine (id, org_id, name, created_at) VALUES (1, 1, 'attic', 1)"))
        old = [(1_700_000_000_000, 1, 98.7, '{"fan_rpm": 1180.5}'), (1_700_000_010_000, 2, None, "null")]
        for at, seq, cpu, extra in old:
            values = {"at": at, "seq": seq, "received_at": at + 40, "cpu": cpu, "extra": extra}
            connection.execute(text(row), values)
    upgrade(empty)
    with empty.connect() as connection:
        found = connection.execute(select(sample).order_by(sample.c.seq)).all()
        nulls = connection.scalar(text("SELECT count(*) FROM sample WHERE extra IS NULL"))
    assert [row.cpu_percent for row in found] == [98.7, None]
    assert [row.extra for row in found] == [{"fan_rpm": 1180.5}, None]
    assert nulls == 1
    for kept in found:
        assert (kept.load_1m, kept.temperature_celsius, kept.memory_used_bytes) == (0.29, -12.5, 17179869184)
        assert (kept.delay_milliseconds, kept.clock_offset_milliseconds) == (40, 7)


@pytest.mark.parametrize("name", ["minute", "hour"])
def test_rollups_keep_their_readings_when_they_become_smaller(empty: Engine, name: str) -> None:
    _bring_to(empty, "0004")
    table = metadata.tables[name]
    row: dict[str, Any] = {column.name: 0 for column in table.c if column.name.endswith("_count")}
    row |= {"machine_id": 1, "at": 1_700_000_000_000, "samples": 6, "extra": '{"fan_rpm": [6, 900.0, 950.5, 1000.0]}'}
    row |= {"cpu_percent_count": 6, "cpu_percent_min": 0.29, "cpu_percent_avg": 1 / 3, "cpu_percent_max": 98.7}
    row |= {"memory_used_bytes_count": 6, "memory_used_bytes_max": 17179869184}
    row |= {"sampled_from": 5, "sampled_to": 7} if name == "minute" else {}
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO org (id, name, config, created_at) VALUES (1, 'home', '{}', 1)"))
        connection.execute(text("INSERT INTO machine (id, org_id, name, created_at) VALUES (1, 1, 'attic', 1)"))
        columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
        connection.execute(text(f"INSERT INTO {name} ({columns}) VALUES ({values})"), row)  # noqa: S608 - names of columns
    upgrade(empty)
    with empty.connect() as connection:
        found = connection.execute(select(table)).mappings().one()
    assert {column: found[column] for column in row} == {**row, "extra": {"fan_rpm": [6, 900.0, 950.5, 1000.0]}}
    assert found["load_1m_min"] is None


def test_samples_stay_when_they_are_divided_by_day(empty: Engine) -> None:
    now = time.time_ns() // 1_000_000
    times = [0, now - DAY, now, now + 2 * DAY, 10**15]  # also of clocks that are wrong
    _bring_to(empty, "0008")
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO org (id, name, config, created_at) VALUES (1, 'home', '{}', 1)"))
        connection.execute(text("INSERT INTO machine (id, org_id, name, created_at) VALUES (1, 1, 'attic', 1)"))
        key = {"machine_id": 1, "stream_number": 1, "delay_milliseconds": 0, "cpu_percent": 12.5}
        connection.execute(sample.insert(), [{**key, "sampled_at": at, "seq": i} for i, at in enumerate(times)])
    upgrade(empty)
    with empty.begin() as connection:
        if empty.dialect.name == "postgresql":
            while make_day(connection, wanted(now, 0)):
                pass
            bounds = [(part.first, part.end) for part in parts(connection)]
            assert bounds[0] == (None, bounds[1][0])
            assert bounds[-1][1] == (now // DAY + DAYS_AHEAD + 1) * DAY
            assert connection.scalar(text("SELECT seq FROM sample_other")) == 4
        found = connection.execute(select(sample.c.sampled_at, sample.c.cpu_percent).order_by(sample.c.seq)).all()
    assert [tuple(row) for row in found] == [(at, 12.5) for at in times]


@pytest.mark.parametrize("reading", [0.0, 0.01, 0.29, 33.33, 57.9, 99.99, 100.0, -40.55, None])
def test_a_reading_of_two_decimals_comes_back_as_it_was(database: Engine, reading: float | None) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO org (id, name, config, created_at) VALUES (1, 'home', '{}', 1)"))
        connection.execute(text("INSERT INTO machine (id, org_id, name, created_at) VALUES (1, 1, 'attic', 1)"))
        key = {"machine_id": 1, "sampled_at": 1, "stream_number": 1, "seq": 1, "delay_milliseconds": 0}
        connection.execute(sample.insert().values(**key, cpu_percent=reading))
        assert connection.scalar(select(sample.c.cpu_percent)) == reading
