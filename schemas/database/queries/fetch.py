"""Run read queries, each in a transaction that ends before the rows are returned."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select

_CHUNK: Final = 500
"""Values per `IN (…)`: a database limits the parameters of one statement."""


def fetch_all(engine: Engine, query: Select[Any]) -> list[Row[Any]]:
    """Return all rows."""
    with engine.connect() as connection:
        return list(connection.execute(query))


def fetch_mappings(engine: Engine, query: Select[Any]) -> list[dict[str, Any]]:
    """Return all rows as dicts by column name."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def fetch_first(engine: Engine, query: Select[Any]) -> Row[Any] | None:
    """Return the first row, or None."""
    with engine.connect() as connection:
        return connection.execute(query).first()


def fetch_scalar(engine: Engine, query: Select[Any]) -> Any:  # noqa: ANN401 - depends on the query
    """Return the first column of the first row, or None."""
    with engine.connect() as connection:
        return connection.scalar(query)


def fetch_where_in(
    engine: Engine, query: Select[Any], column: ColumnElement[Any], values: Sequence[Any]
) -> list[Row[Any]]:
    """Return the rows whose column has one of these values, however many values there are."""
    with engine.connect() as connection:
        chunks = (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
        return [row for chunk in chunks for row in connection.execute(query.where(column.in_(chunk)))]
