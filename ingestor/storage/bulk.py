"""Many rows into one table, in the form that each database takes fastest (`tests/bench/test_insert_forms.py`).

Invariants:
- Rows are tuples of the columns named, whose values the driver stores as they are (`ingestor.storage.row_encoding`).
- Where the key exists, the other columns are overwritten, or the row is left unchanged.
- Errors are raised as SQLAlchemy's DBAPIError in either form.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Engine, MetaData, Table, event, literal_column, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

Rows = Sequence[tuple[Any, ...]]

Merge = Callable[[Any], Mapping[str, Any]]
"""Returns the new values of columns of a row that exists, from the row that was to be inserted (`excluded`)."""

_CREATED = "temporary tables that exist"
"""Key in what SQLAlchemy keeps with a connection to the database."""


class Bulk(Protocol):
    """Writes rows of one table."""

    def write(self, connection: Connection, rows: Rows) -> None:
        """Insert rows in the connection's transaction, once in it; if they overwrite, each key at most once."""
        ...


def dialect_insert(engine: Engine) -> Any:  # noqa: ANN401 - a dialect's own function
    """Return the dialect's `insert`, which knows ON CONFLICT."""
    return (postgresql if engine.dialect.name == "postgresql" else sqlite).insert


def merging(engine: Engine, table: Table, columns: Sequence[str], merge: Merge) -> Bulk:
    """Return the fastest way to write rows of these columns, most of which are new; the others are merged."""
    if engine.dialect.name == "postgresql":
        return CopiedRows(engine, table, columns, merge=merge)
    return PreparedRows(engine, table, columns, merge=merge)


def bulk(
    engine: Engine,
    table: Table,
    columns: Sequence[str],
    *,
    overwrite: bool,
    unchanged: Sequence[str] = (),
    if_new: str | None = None,
) -> Bulk:
    """Return the fastest way to write rows of these columns.

    `unchanged`: columns that are the same in a row that is overwritten; SQLite then leaves their indexes alone.
    `if_new`: PostgreSQL's view of the table that leaves rows that exist unchanged.
    """
    if engine.dialect.name == "postgresql":
        return CopiedRows(engine, table, columns, overwrite=overwrite, if_new=if_new)
    return UpdatedRows(engine, table, columns, unchanged) if overwrite else PreparedRows(engine, table, columns)


class PreparedRows:
    """A statement, compiled once, for the driver's `executemany`."""

    def __init__(
        self,
        engine: Engine,
        table: Table,
        columns: Sequence[str],
        *,
        overwrite: bool = False,
        merge: Merge | None = None,
    ) -> None:
        statement = _on_conflict(dialect_insert(engine)(table), table, columns, overwrite=overwrite, merge=merge)
        positional: Any = engine.dialect
        if not positional.positional:
            positional = type(positional)(paramstyle="format")
        self._sql = str(statement.compile(dialect=positional, column_keys=columns))

    def write(self, connection: Connection, rows: Rows) -> None:
        """See `Bulk`."""
        if rows:
            connection.exec_driver_sql(self._sql, rows)


class UpdatedRows:
    """SQLite: an UPDATE, which takes half the time of INSERT ON CONFLICT; that follows if one of the rows is new."""

    def __init__(self, engine: Engine, table: Table, columns: Sequence[str], unchanged: Sequence[str]) -> None:
        places: dict[str, Any] = {name: literal_column(f"?{place}") for place, name in enumerate(columns, 1)}
        keys = [column == places.pop(column.name) for column in table.primary_key]
        changing = {name: place for name, place in places.items() if name not in unchanged}
        self._sql = str(update(table).where(*keys).values(changing).compile(dialect=engine.dialect))
        self._inserted = PreparedRows(engine, table, columns, overwrite=True)

    def write(self, connection: Connection, rows: Rows) -> None:
        """See `Bulk`."""
        if rows and connection.exec_driver_sql(self._sql, rows).rowcount < len(rows):
            self._inserted.write(connection, rows)


class CopiedRows:
    """PostgreSQL: COPY into a temporary table, and one INSERT from there.

    A connection keeps its temporary tables. They are created in the transaction that first uses them, so that a
    roll-back may remove them: after one, they are created again.
    """

    def __init__(
        self,
        engine: Engine,
        table: Table,
        columns: Sequence[str],
        *,
        overwrite: bool = False,
        merge: Merge | None = None,
        if_new: str | None = None,
    ) -> None:
        staging = table.to_metadata(MetaData(), name=f"new_{table.name}")
        self._error: Any = engine.dialect.loaded_dbapi.Error
        self._staging = staging.name
        self._create = text(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {staging.name} (LIKE {table.name} INCLUDING DEFAULTS) "
            "ON COMMIT DELETE ROWS"
        )
        self._copy = f"COPY {staging.name} ({', '.join(columns)}) FROM STDIN"
        into = table if if_new is None else table.to_metadata(MetaData(), name=if_new)
        statement = postgresql.insert(into).from_select(columns, select(*(staging.c[name] for name in columns)))
        self._insert = (
            _on_conflict(statement, table, columns, overwrite=overwrite, merge=merge) if if_new is None else statement
        )
        if not event.contains(engine, "rollback", _forget_created):
            event.listen(engine, "rollback", _forget_created)

    def write(self, connection: Connection, rows: Rows) -> None:
        """See `Bulk`."""
        if not rows:
            return
        created: set[str] = connection.info.setdefault(_CREATED, set())
        if self._staging not in created:
            connection.execute(self._create)
            created.add(self._staging)
        driver: Any = connection.connection.driver_connection
        try:
            with driver.cursor() as cursor, cursor.copy(self._copy) as copy:
                for row in rows:
                    copy.write_row(row)
        except self._error as error:  # SQLAlchemy does not wrap errors of COPY
            raise DBAPIError.instance(self._copy, None, error, self._error, dialect=connection.dialect) from error
        connection.execute(self._insert)


def _forget_created(connection: Connection) -> None:
    if not connection.invalidated:
        connection.info.pop(_CREATED, None)


def _on_conflict(
    statement: Any,  # noqa: ANN401 - a dialect's insert
    table: Table,
    columns: Sequence[str],
    *,
    overwrite: bool,
    merge: Merge | None,
) -> Any:  # noqa: ANN401 - the same
    if merge is not None:
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key), set_=dict(merge(statement.excluded))
        )
    if not overwrite:
        return statement.on_conflict_do_nothing()
    keys = [column.name for column in table.primary_key]
    changing = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=changing)
