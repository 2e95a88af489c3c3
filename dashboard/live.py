"""What keeps a page honest while it refreshes: the last good figures when the database is away, and the banner.

Invariants:
- A database that cannot be read never shows as an error page: what was read last stays, with its time.
- When what is shown may be out of date, the page says so at its top, and since when.
"""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import streamlit as st
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboard import markup, queries, text
from dashboard.queries import Beat
from dashboard.view import Context

SILENT_MILLISECONDS = 10_000

P = ParamSpec("P")
T = TypeVar("T")
_KEPT_MAX = 1000
_log = logging.getLogger(__name__)

_NO_DATABASE = "The database cannot be read since {since}. What you see is from then; this page tries again by itself."
_NEVER_READ = "The database cannot be read. This page tries again by itself."
_NO_INGESTOR = "No ingestor has ever reported to this database: nothing will appear here until one runs."
_SILENT = "The ingestor has been silent since {since}; what you see may be out of date."
_NO_BROKER = "The ingestor has no connection to the broker; what you see may be out of date."


def read(context: Context, key: str, query: Callable[[], T]) -> T | None:
    """What the query says; when the database is away what it said last on this page, or None when it never did."""
    kept = f"kept.{key}"
    try:
        value = query()
    except SQLAlchemyError as error:
        _log.warning("cannot read the database: %s", error)
        return _last(kept)
    st.session_state[kept] = value
    st.session_state["read_at"] = context.now()
    return value


def shared(query: Callable[P, T], *, seconds: float) -> Callable[P, T]:
    """The query, asked at most so often with the same arguments, whichever visitors ask.

    Its arguments must say all that its answer depends on, the organisation above all.
    """
    return st.cache_data(
        ttl=seconds,
        max_entries=_KEPT_MAX,
        show_spinner=False,
        hash_funcs={Engine: lambda engine: engine.url.render_as_string(hide_password=False)},
    )(query)


def _last(kept: str) -> "T | None":
    value: T | None = st.session_state.get(kept)
    return value


def banner(context: Context) -> None:
    """Say at the top of a page what is wrong with what it shows; nothing when all is well."""
    try:
        beat = queries.beat(context.engine)
    except SQLAlchemyError:
        since = st.session_state.get("read_at")
        known = _NO_DATABASE.format(since=text.moment(since, context.now(), context.zone)) if since else _NEVER_READ
        st.html(markup.banner(known, "bad"))
        return
    message = warning(beat, context)
    if message:
        st.html(markup.banner(message))


def warning(beat: Beat | None, context: Context) -> str:
    """What the ingestor's last sign of life means for a reader; empty when all is well."""
    now = context.now()
    if beat is None:
        return _NO_INGESTOR
    if now - beat.at > SILENT_MILLISECONDS:
        return _SILENT.format(since=text.moment(beat.at, now, context.zone))
    return "" if beat.broker_connected else _NO_BROKER
