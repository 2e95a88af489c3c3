"""Rows on their way to PostgreSQL: what goes wrong there is what it would be for any other statement."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from ingestor.storage.bulk import bulk
from schemas.database import tables

COLUMNS = ("machine_id", "name", "number", "created_at", "highest_seq", "oldest_seq", "dropped", "late", "duplicate")
ROW = (1, "00000000000000aa", 1, 1, 1, 1, 0, 0, 0, "1")


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.fixture
def fleet(database: Engine) -> Engine:
    with database.begin() as connection:
        connection.execute(tables.org.insert().values(id=1, name="home", config={}, created_at=1))
        connection.execute(tables.machine.insert().values(id=1, org_id=1, name="attic", created_at=1))
    return database


def test_rows_are_overwritten_or_left_by_their_key(fleet: Engine) -> None:
    later = (*ROW[:4], 5, *ROW[5:])
    for overwrite, expected in ((False, 1), (True, 5)):
        streams = bulk(fleet, tables.stream, (*COLUMNS, "stored"), overwrite=overwrite)
        for rows in ([ROW], [later], []):
            with fleet.begin() as connection:
                streams.write(connection, rows)
        with fleet.connect() as connection:
            assert connection.scalar(select(tables.stream.c.highest_seq)) == expected


def test_rows_that_exist_and_rows_that_do_not_are_written_together(fleet: Engine) -> None:
    streams = bulk(fleet, tables.stream, (*COLUMNS, "stored"), overwrite=True)
    table = tables.stream.c
    for rows in ([ROW], [(*ROW[:4], 5, *ROW[5:]), (1, "00000000000000bb", 2, 1, 7, *ROW[5:])]):
        with fleet.begin() as connection:
            streams.write(connection, rows)
    with fleet.connect() as connection:
        assert connection.execute(select(table.number, table.highest_seq).order_by(table.number)).all() == [
            (1, 5),
            (2, 7),
        ]


def test_a_column_that_is_the_same_may_be_left_out_of_the_update_but_not_of_a_new_row(fleet: Engine) -> None:
    streams = bulk(fleet, tables.stream, (*COLUMNS, "stored"), overwrite=True, unchanged=("number",))
    for row in (ROW, (*ROW[:4], 5, *ROW[5:])):
        with fleet.begin() as connection:
            streams.write(connection, [row])
    with fleet.connect() as connection:
        assert connection.execute(select(tables.stream.c.number, tables.stream.c.highest_seq)).one() == (1, 5)


def test_a_transaction_that_fails_leaves_nothing_for_the_next(fleet: Engine) -> None:
    streams = bulk(fleet, tables.stream, (*COLUMNS, "stored"), overwrite=True)
    for attempt in range(2):
        with pytest.raises(IntegrityError), fleet.begin() as connection:
            streams.write(connection, [ROW, (2 + attempt, *ROW[1:])])
    with fleet.begin() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.stream)) == 0
        streams.write(connection, [ROW])
    with fleet.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.stream)) == 1


def test_what_postgresql_refuses_is_a_data_error(fleet: Engine) -> None:
    if fleet.dialect.name != "postgresql":
        pytest.skip("SQLite takes any number and any text")
    streams = bulk(fleet, tables.stream, (*COLUMNS, "stored"), overwrite=True)
    for wrong in ((*ROW[:4], 2**63, *ROW[5:]), (*ROW[:9], "nul\0byte")):
        with pytest.raises(DataError), fleet.begin() as connection:
            streams.write(connection, [wrong])


def test_a_connection_that_postgresql_ends_is_an_operational_error(fleet: Engine) -> None:
    if fleet.dialect.name != "postgresql":
        pytest.skip("SQLite has no connection to end")
    streams = bulk(fleet, tables.stream, (*COLUMNS, "stored"), overwrite=True)

    class Ending(list[tuple[object, ...]]):
        """Rows of which the connection sees none, as it is ended before."""

        def __iter__(self) -> Iterator[tuple[object, ...]]:
            with fleet.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
            return super().__iter__()

    with pytest.raises(OperationalError), fleet.begin() as connection:  # noqa: PT012
        process = connection.scalar(text("SELECT pg_backend_pid()"))
        streams.write(connection, Ending([ROW]))
    with fleet.begin() as connection:
        streams.write(connection, [ROW])
