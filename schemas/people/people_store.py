"""The people's database: opened with the tables that it needs. The tables of users are the dashboard's
(`dashboard.auth`), those of notifications and of API tokens are here; the processes that open it may start at the same
time.

Invariants:
- Tables and columns that an older version did not have are added, under a lock; nothing is removed or changed. So a
  column that is added to a table that people have already is nullable or has a server default.
- A database that has everything is only read, so that it opens while another process writes, or its disk is full.
- Only the owner of a database file can read it, from the moment it exists.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Engine, MetaData, Table, delete, inspect, make_url, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from schemas.database.engine import DatabaseError, open_engine, shown_url
from schemas.people import api_token_table, notification_tables

SHARED: Final = (notification_tables.metadata, api_token_table.metadata)
"""The tables that the dashboard shares with the notifier and the command line; each has a column `org`."""

_LOCK: Final = 0x70656F706C65
"""Key of PostgreSQL's lock around a change of the tables."""


def open_people_store(url: str) -> Engine:
    """Open the database, with the tables of notifications and API tokens. Raises DatabaseError."""
    return open_with_tables(url, SHARED, "database of users")


def has_people_store(url: str) -> bool:
    """Return False if the database is a file that does not exist."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


def remove_org_records(engine: Engine, org: str) -> None:
    """Delete destinations, templates, deliveries, API tokens and all else of an organisation that is removed."""
    with engine.begin() as connection:
        for table in (table for schema in SHARED for table in reversed(schema.sorted_tables)):
            connection.execute(delete(table).where(table.c.org == org))


def open_with_tables(url: str, schemas: Collection[MetaData], name: str) -> Engine:
    """Open a database, adding the file, tables and columns that it lacks. `name`: for errors. Raises DatabaseError."""
    engine = open_engine(url)
    path = make_url(url).database
    tables = [table for schema in schemas for table in schema.sorted_tables]
    try:
        if engine.dialect.name == "sqlite" and path:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with engine.connect() as connection:
            complete = not _missing(connection, tables)
        if not complete:
            _add_missing(engine, schemas, tables)
    except OSError as error:
        raise DatabaseError(f"cannot open the {name} {path}: {error.strerror}") from None
    except DBAPIError as error:
        raise DatabaseError(f"cannot open the {name} {shown_url(engine)}: {error.orig}") from None
    return engine


def _missing(connection: Connection, tables: Collection[Table]) -> list[Column[object]]:
    """Return the columns that the database lacks, those of missing tables too."""
    inspector = inspect(connection)
    known = set(inspector.get_table_names())
    found = {
        table.name: {each["name"] for each in inspector.get_columns(table.name)}
        for table in tables
        if table.name in known
    }
    return [column for table in tables for column in table.columns if column.name not in found.get(table.name, ())]


def _add_missing(engine: Engine, schemas: Collection[MetaData], tables: Collection[Table]) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        for schema in schemas:
            schema.create_all(connection)
        for column in _missing(connection, tables):
            definition = CreateColumn(column).compile(dialect=engine.dialect)
            table = engine.dialect.identifier_preparer.format_table(column.table)
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {definition}")
