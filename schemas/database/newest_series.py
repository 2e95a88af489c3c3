"""The newest series of a machine, as a part of a query."""

from typing import Any

from sqlalchemy import ColumnElement, select

from schemas.database.tables import series_sample

KEY = (series_sample.c.at, series_sample.c.stream_number, series_sample.c.seq)
"""The order of series: the time, then the place of their sample."""


def newest_row(machine_key: ColumnElement[int], column: ColumnElement[Any]) -> Any:  # noqa: ANN401 - a subquery
    """Return the subquery for a column of a machine's newest row."""
    newest = select(column).where(series_sample.c.machine_id == machine_key)
    return newest.order_by(*(each.desc() for each in KEY)).limit(1).scalar_subquery()
