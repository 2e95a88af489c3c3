"""A database as an older version left it, for tests of its migration."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, text

from schemas.database.engine import migrate, open_engine, upgrade


@contextmanager
def old_database(url: str, revision: str) -> Iterator[Engine]:
    """Open an empty database of this revision; it has the newest one afterwards, for the tests that share it."""
    engine = open_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        migrate(connection, revision)
    try:
        yield engine
    finally:
        upgrade(engine)
        engine.dispose()
