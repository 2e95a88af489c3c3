"""Heartbeats that are not written to the disk each time, and yet say that the database can be written."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from ingestion import Bench, Speaker
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import OperationalError

from schemas.database import tables
from schemas.database.engine import sqlite_file
from schemas.database.heartbeat_file import heartbeat_path
from schemas.database.queries.heartbeat import HEARTBEAT_SECONDS, ROW_SECONDS, Heartbeat, find_trouble, latest_heartbeat


@pytest.fixture
def hearing(bench: Bench) -> Bench:
    """An ingestor that is connected to the broker, and has told so in its row."""
    bench.step(HEARTBEAT_SECONDS, steps=3)
    return bench


def log_file(fleet: Engine) -> Path:
    return Path(f"{sqlite_file(fleet)}-wal")


def beat_in_row(fleet: Engine) -> int:
    with fleet.connect() as connection:
        return int(connection.execute(select(tables.ingestor.c.beat_at)).scalar_one())


def test_a_heartbeat_of_an_idle_ingestor_writes_nothing_to_the_database(hearing: Bench, fleet: Engine) -> None:
    before = log_file(fleet).read_bytes()
    for _ in range(int(ROW_SECONDS / HEARTBEAT_SECONDS) - 4):
        hearing.step(HEARTBEAT_SECONDS)
        assert latest_heartbeat(fleet) == Heartbeat(hearing.clock.now(), broker_connected=True)
    assert log_file(fleet).read_bytes() == before
    hearing.step(HEARTBEAT_SECONDS, steps=2)
    assert log_file(fleet).read_bytes() != before


def test_the_row_has_a_heartbeat_of_the_last_half_minute(hearing: Bench, fleet: Engine) -> None:
    for _ in range(60):
        hearing.step(HEARTBEAT_SECONDS)
        assert hearing.clock.now() - beat_in_row(fleet) <= (ROW_SECONDS + HEARTBEAT_SECONDS) * 1000


def test_the_row_is_written_with_a_sample_before_it_needs_a_transaction_of_its_own(
    hearing: Bench, fleet: Engine
) -> None:
    speaker = Speaker(hearing.clock)
    hearing.publish(speaker.status())
    hearing.step()
    alone = 0
    for seq in range(1, 31):
        hearing.publish(speaker.telemetry(seq))
        hearing.step()
        assert hearing.clock.now() - beat_in_row(fleet) <= ROW_SECONDS * 1000
        written = beat_in_row(fleet)
        hearing.step(HEARTBEAT_SECONDS, steps=5)
        alone += beat_in_row(fleet) != written
    assert alone == 0


def test_an_ingestor_that_cannot_write_is_silent_though_nothing_is_to_be_stored(hearing: Bench, fleet: Engine) -> None:
    def refuse(*_: object) -> None:
        raise OperationalError("UPDATE", {}, RuntimeError("the disk is read-only"))

    before = hearing.clock.now()
    event.listen(fleet, "before_cursor_execute", refuse)
    try:
        hearing.step(HEARTBEAT_SECONDS, steps=5)
    finally:
        event.remove(fleet, "before_cursor_execute", refuse)
    beat = latest_heartbeat(fleet)
    assert beat is not None
    assert beat.at == before
    hearing.step(HEARTBEAT_SECONDS, steps=2)
    assert find_trouble(fleet, now=hearing.clock.now()) == ""


def test_a_take_over_makes_no_heartbeat_newer_or_older(hearing: Bench, fleet: Engine) -> None:
    hearing.step(HEARTBEAT_SECONDS, steps=5)
    last = hearing.clock.now()
    assert beat_in_row(fleet) < last
    with fleet.begin() as connection:  # as another ingestor does, or this one when it starts again
        again = {"epoch": tables.ingestor.c.epoch + 1, "broker_connected": False}
        connection.execute(tables.ingestor.update().values(again))
    assert latest_heartbeat(fleet) == Heartbeat(last, broker_connected=False)


@pytest.mark.usefixtures("hearing")
def test_a_heartbeat_from_before_the_database_was_restored_does_not_count(fleet: Engine) -> None:
    with fleet.begin() as connection:
        connection.execute(tables.ingestor.update().values(epoch=0, beat_at=1))
    assert latest_heartbeat(fleet) == Heartbeat(1, broker_connected=True)


def test_a_lost_connection_to_the_broker_is_told_by_file_and_row(hearing: Bench, fleet: Engine) -> None:
    hearing.broker.stop()
    hearing.step(HEARTBEAT_SECONDS, steps=2)
    assert latest_heartbeat(fleet) == Heartbeat(hearing.clock.now(), broker_connected=False)
    with fleet.connect() as connection:
        assert not connection.execute(select(tables.ingestor.c.broker_connected)).scalar_one()


def test_without_its_file_an_ingestor_writes_every_heartbeat_to_its_row(
    make_bench: Callable[[], Bench], fleet: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat_path(sqlite_file(fleet), "ingestor").mkdir()
    with caplog.at_level(logging.WARNING):
        bench = make_bench()
        bench.step(HEARTBEAT_SECONDS, steps=10)
    assert "every heartbeat is written to the database" in caplog.text
    assert beat_in_row(fleet) == bench.clock.now()
    assert latest_heartbeat(fleet) == Heartbeat(bench.clock.now(), broker_connected=True)
