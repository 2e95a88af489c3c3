"""Reading the database for a page that stays readable while the database is down.

Invariants:
- A database that cannot be read never shows as an error page: the last good result stays. The banner has its time.
- A single query that fails, or takes too long, is in the banner as well (`recent_failures`).
- A choice is never made from an old result: `fresh` returns None instead.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Concatenate, Final, ParamSpec, TypeVar

import streamlit as st
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboard.page.page import PageContext
from schemas.database.time_limit import is_exceeded

READ_AT: Final = "read_at"
"""In the session state: the time of the last good read, in milliseconds."""

FAILURE_MILLISECONDS: Final = 15_000
"""Time for which a failure is recent; a part of a page that still fails fails again within it."""

_FAILED: Final = "failed_reads"
P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)


def read(context: PageContext, key: str, query: Callable[[], T]) -> T | None:
    """Run a query. While the database is down, return its last result in this session, or None if there is none."""
    kept = f"kept.{key}"
    try:
        value = query()
    except SQLAlchemyError as error:
        _log.warning("cannot read the database: %s", error)
        _failures()[key] = (context.now(), is_exceeded(error))
        last: T | None = st.session_state.get(kept)
        return last
    _failures().pop(key, None)
    st.session_state[kept] = value
    st.session_state[READ_AT] = context.now()
    return value


def recent_failures(context: PageContext) -> list[bool]:
    """Return for each read that failed lately, and not succeeded since, whether it exceeded its time limit."""
    since = context.now() - max(FAILURE_MILLISECONDS, round(3000 * context.refresh_seconds))
    return [exceeded for at, exceeded in _failures().values() if at > since]


def _failures() -> dict[str, tuple[int, bool]]:
    """Return the time of each failed read of this session, and whether it exceeded its time limit."""
    found: dict[str, tuple[int, bool]] = st.session_state.setdefault(_FAILED, {})
    return found


def read_org(
    context: PageContext,
    key: str,
    query: Callable[Concatenate[Engine, str, P], T],
    *given: P.args,
    **named: P.kwargs,
) -> T | None:
    """Run a query on the visitor's organisation, as `read` does."""
    return read(context, key, partial(query, context.engine, context.org, *given, **named))


def find_org(
    context: PageContext,
    key: str,
    query: Callable[Concatenate[Engine, str, P], T | None],
    *given: P.args,
    **named: P.kwargs,
) -> list[T] | None:
    """Look up something of the visitor's organisation, as `read` does; return it in a list, empty if there is none."""

    def find() -> list[T]:
        found = query(context.engine, context.org, *given, **named)
        return [] if found is None else [found]

    return read(context, key, find)


def fresh(query: Callable[[], T]) -> T | None:
    """Run a query whose result must not be old; return None while the database is down."""
    try:
        return query()
    except SQLAlchemyError as error:
        _log.warning("cannot read the database: %s", error)
        return None
