"""What keeps a page honest while it refreshes: the last good figures when the database is away, and the banner.

Invariants:
- A database that cannot be read never shows as an error page: what was read last stays, with its time.
- When what is shown may be out of date, the page says so at its top, since when, and what to do, within ten seconds.
- While a request could not be answered, acting is not offered, and the reason is where the button is.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

import streamlit as st
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.database.queries import machines
from schemas.database.queries.machines import Beat

SILENT_MILLISECONDS = 7_000
"""More than three of the ingestor's heartbeats, and little enough that its end is on the page within ten seconds."""

BANNER_SECONDS = 2.5
"""Between two looks at whether all is well, at most."""

P = ParamSpec("P")
T = TypeVar("T")
_KEPT_MAX = 1000
_log = logging.getLogger(__name__)

_SEE_DATABASE: Final = marked(
    "On the server, see that the database runs; the dashboard's log has its answer. This page tries again by itself."
)
_SEE_INGESTOR: Final = marked("On the server, see that dashfleet up, or dashfleet ingestor, runs.")
_SEE_BROKER: Final = marked(
    "On the server, see that the broker runs; the ingestor's log says what stands between them."
)
_NO_DATABASE: Final = marked("The database cannot be read since {since}. What you see is from then.")
_NEVER_READ: Final = marked("The database cannot be read.")
_NO_INGESTOR: Final = marked("No ingestor has ever reported to this database: nothing will appear here until one runs.")
_SILENT: Final = marked("The ingestor has been silent since {since}; what you see may be out of date.")
_NO_BROKER: Final = marked("The ingestor has no connection to the broker; what you see may be out of date.")
_CANNOT_ASK_DATABASE: Final = marked("Nothing can be asked of machines now: the database cannot be read.")
_CANNOT_ASK_SILENT: Final = marked("Nothing can be asked of machines now: the ingestor, which passes it on, is silent.")
_CANNOT_ASK_BROKER: Final = marked(
    "Nothing can be asked of machines now: the ingestor, which passes it on, has no connection to the broker."
)


def read(context: PageContext, key: str, query: Callable[[], T]) -> T | None:
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


def fresh(query: Callable[[], T]) -> T | None:
    """What the query says now; None when the database is away. For what must not be from earlier, such as a choice."""
    try:
        return query()
    except SQLAlchemyError as error:
        _log.warning("cannot read the database: %s", error)
        return None


def _last(kept: str) -> "T | None":
    value: T | None = st.session_state.get(kept)
    return value


def refresh(draw: Callable[[], None], *, seconds: float, key: str) -> None:
    """Draw this here, and again every so many seconds without the rest of the page.

    In a container of its own: a fragment that runs again before the browser has the page takes back what it drew
    and sends it last, so that what follows would find its own place missing, at which Streamlit's page stops.
    `key` is the fragment's name; were it that of another page's, a refresh asked for there would run here.
    """

    def body() -> None:
        draw()

    body.__qualname__ = key
    with st.container(key=f"place_{key}"):
        st.fragment(body, run_every=seconds, key=key)()


def wait(context: PageContext) -> None:
    """In place of a page that has nothing to show while the database is away: draw it when it is back."""

    def wait() -> None:
        if fresh(partial(machines.beat, context.engine)) is not None:
            st.rerun()

    refresh(wait, seconds=context.refresh_seconds, key="wait")


def banner(context: PageContext) -> None:
    """Say at the top of a page what is wrong with what it shows; nothing when all is well."""
    try:
        beat = machines.beat(context.engine)
    except SQLAlchemyError:
        since = st.session_state.get("read_at")
        at = text.moment(since, context.now(), context.zone) if since else ""
        known = _(_NO_DATABASE, since=at) if since else _(_NEVER_READ)
        st.html(markup.banner(f"{known} {_(_SEE_DATABASE)}", "bad"))
        return
    message = warning(beat, context)
    if message:
        st.html(markup.banner(message))


def warning(beat: Beat | None, context: PageContext) -> str:
    """What the ingestor's last sign of life means for a reader, and what to do; empty when all is well."""
    now = context.now()
    if beat is None:
        return f"{_(_NO_INGESTOR)} {_(_SEE_INGESTOR)}"
    if _is_silent(beat, now):
        return f"{_(_SILENT, since=text.moment(beat.at, now, context.zone))} {_(_SEE_INGESTOR)}"
    return "" if beat.broker_connected else f"{_(_NO_BROKER)} {_(_SEE_BROKER)}"


def obstacle(context: PageContext, *, signed: bool = True) -> str:
    """Why nobody can act now, in a sentence; empty when they can. The banner says what to do about it.

    `signed`: about orders for machines, which need a key.
    """
    if context.publisher is None:
        return ""
    try:
        beat = machines.beat(context.engine)
    except SQLAlchemyError:
        return _(_CANNOT_ASK_DATABASE)
    unavailable = context.publisher.unavailable(context.org) if signed else context.publisher.unreachable()
    if unavailable:
        return unavailable
    if _is_silent(beat, context.now()):
        return _(_CANNOT_ASK_SILENT)
    return "" if beat is None or beat.broker_connected else _(_CANNOT_ASK_BROKER)


def _is_silent(beat: Beat | None, now: int) -> bool:
    return beat is None or now - beat.at > SILENT_MILLISECONDS
