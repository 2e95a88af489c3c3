"""Many rows into one table, as fast as the database's driver takes them.

Invariant: the statement is SQLAlchemy's, compiled once; rows are tuples whose values the driver stores as they are
(`ingestor.rows`).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine import Connection


class Bulk:
    """Inserts rows of these columns; where the key is there, it overwrites the others, or leaves the row as it is."""

    def __init__(self, engine: Engine, table: Table, columns: Sequence[str], *, overwrite: bool) -> None:
        on_postgresql = engine.dialect.name == "postgresql"
        statement: Any = (postgresql if on_postgresql else sqlite).insert(table)
        if overwrite:
            keys = [column.name for column in table.primary_key]
            changing = {name: statement.excluded[name] for name in columns if name not in keys}
            statement = statement.on_conflict_do_update(index_elements=keys, set_=changing)
        else:
            statement = statement.on_conflict_do_nothing()
        positional = psycopg.dialect(paramstyle="format") if on_postgresql else engine.dialect  # type: ignore[no-untyped-call]
        self._sql = str(statement.compile(dialect=positional, column_keys=columns))

    def write(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert these rows."""
        if rows:
            connection.exec_driver_sql(self._sql, rows)
