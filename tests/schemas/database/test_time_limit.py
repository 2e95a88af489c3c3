"""The time limit of statements: it ends a long one, and nothing else. On every database."""

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from schemas.database.engine import open_engine, upgrade
from schemas.database.time_limit import is_exceeded, limit_statements

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def limited(each_database_url: str) -> Iterator[Engine]:
    engine = open_engine(each_database_url)
    upgrade(engine)
    engine.dispose()
    engine = limit_statements(open_engine(each_database_url, read_only=True), 0.3)
    yield engine
    engine.dispose()


def test_a_statement_that_takes_too_long_ends_and_its_connection_remains_usable(limited: Engine) -> None:
    with limited.connect() as connection:
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(OperationalError) as failed:
                connection.execute(text(ENDLESS))
            assert is_exceeded(failed.value)
            assert time.monotonic() - began < 5
            connection.rollback()
            assert connection.scalar(text("SELECT count(*) FROM machine")) == 0


def test_the_limit_is_for_each_statement_not_for_the_connection(limited: Engine) -> None:
    until = time.monotonic() + 0.5
    with limited.connect() as connection:
        while time.monotonic() < until:
            connection.execute(text("SELECT count(*) FROM machine")).all()


def test_a_limited_reader_cannot_write_either(limited: Engine) -> None:
    with limited.connect() as connection, pytest.raises(Exception, match=r"read.?only"):
        connection.execute(text("DELETE FROM machine"))


def test_another_error_is_not_taken_for_the_limit(limited: Engine) -> None:
    with limited.connect() as connection, pytest.raises(Exception, match="nothing_like_it") as failed:
        connection.execute(text("SELECT * FROM nothing_like_it"))
    assert not is_exceeded(failed.value)
