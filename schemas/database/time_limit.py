"""A time limit for each statement of an engine, so that one reader's query occupies neither a page nor the server.

Invariant: a statement that exceeds the limit ends with an OperationalError that `is_exceeded` recognises, and its
connection remains usable.
"""

import math
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

_INSTRUCTIONS = 10_000
"""SQLite's virtual machine instructions between two looks at the clock: well below a millisecond."""

_QUERY_CANCELED = "57014"
_KEY = "deadline"


def limit_statements(engine: Engine, seconds: float) -> Engine:
    """Limit the time of each statement of this engine, before it has connected; return the engine."""
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", lambda connection, _: _limit_postgresql(connection, seconds))
        return engine
    event.listen(engine, "connect", _watch_sqlite)

    @event.listens_for(engine, "before_cursor_execute")
    def _start(connection: Any, *_: object) -> None:  # noqa: ANN401 - SQLAlchemy passes six arguments
        connection.connection.info[_KEY] = time.monotonic() + seconds

    return engine


def is_exceeded(error: Exception) -> bool:
    """Return whether a statement ended with this error because it exceeded its time limit."""
    if not isinstance(error, DBAPIError):
        return False
    return getattr(error.orig, "sqlstate", "") == _QUERY_CANCELED or str(error.orig) == "interrupted"


def _limit_postgresql(connection: Any, seconds: float) -> None:  # noqa: ANN401 - psycopg's connection
    connection.autocommit = True
    connection.execute(f"SET statement_timeout = {math.ceil(seconds * 1000)}")
    connection.autocommit = False


def _watch_sqlite(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401 - sqlite3's connection
    info = record.info
    connection.set_progress_handler(lambda: time.monotonic() > info.get(_KEY, math.inf), _INSTRUCTIONS)
