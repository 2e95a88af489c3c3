"""The state of the system itself: the banner at the top of each page, and the reason why no action can be run.

Invariants:
- When a page may be out of date, its banner says so, since when, and what to do, within ten seconds.
- While a request could not be answered, actions are disabled, and the reason is next to the button.
"""

from typing import Final

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import last_good
from dashboard.page.last_good import READ_AT
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.database.queries import heartbeat
from schemas.database.queries.heartbeat import Heartbeat

SILENT_MILLISECONDS: Final = 7_000
"""More than three of the ingestor's heartbeats, and short enough for its end to show within ten seconds."""

BANNER_SECONDS: Final = 2.5
"""The longest time between two refreshes of the banner."""

_SEE_DATABASE: Final = marked(
    "On the server, check that the database is running; the dashboard's log has its error. This page retries "
    "automatically."
)
_SEE_INGESTOR: Final = marked("On the server, check that dashfleet up, or dashfleet ingestor, is running.")
_SEE_BROKER: Final = marked("On the server, check that the broker is running; the ingestor's log has the error.")
_NO_DATABASE: Final = marked("The database cannot be read since {since}. The page shows the state of that time.")
_NEVER_READ: Final = marked("The database cannot be read.")
_NO_INGESTOR: Final = marked("No ingestor has ever reported to this database: nothing will appear here until one runs.")
_SILENT: Final = marked("The ingestor has not reported since {since}; this page may be out of date.")
_NO_BROKER: Final = marked("The ingestor has no connection to the broker; this page may be out of date.")
_TOO_SLOW: Final = marked(
    "A part of this page took too long to read and shows its last state. Choose a shorter time range, or filter more; "
    "an administrator of the server can raise query_seconds."
)
_PARTLY_FAILED: Final = marked("A part of this page cannot be read and shows its last state.")
CERTIFICATE_MILLISECONDS: Final = 30 * 86_400_000
"""The time before the end of the broker's certificate from which admins are warned."""

_CERTIFICATE_ENDS: Final = marked(
    "The broker's certificate expires on {at}: no machine can connect from then on. Renew it on the server, for "
    "example with dashfleet tls --renew; the broker uses it without a restart."
)
_CERTIFICATE_ENDED: Final = marked(
    "The broker's certificate expired on {at}: machines that disconnect cannot connect again. Renew it on the "
    "server, for example with dashfleet tls --renew; the broker uses it without a restart."
)
_CANNOT_ACT_DATABASE: Final = marked("No action can be run now: the database cannot be read.")
_CANNOT_ACT_SILENT: Final = marked("No action can be run now: the ingestor, which forwards it, is not reporting.")
_CANNOT_ACT_BROKER: Final = marked(
    "No action can be run now: the ingestor, which forwards it, has no connection to the broker."
)


def banner(context: PageContext) -> None:
    """Draw a warning if the page may be out of date."""
    try:
        beat = heartbeat.latest_heartbeat(context.engine)
    except SQLAlchemyError:
        since = st.session_state.get(READ_AT)
        at = text.moment(since, context.now(), context.zone) if since else ""
        known = _(_NO_DATABASE, since=at) if since else _(_NEVER_READ)
        st.html(markup.banner(f"{known} {_(_SEE_DATABASE)}", "bad", outdated=True))
        return
    if told := warning(beat, context):
        st.html(markup.banner(told, outdated=True))
    for message in (failures(context), certificate(context)):
        if message:
            st.html(markup.banner(message))


def warning(beat: Heartbeat | None, context: PageContext) -> str:
    """Return what the ingestor's last heartbeat means for a reader, and what to do; empty if all is well."""
    if beat is None:
        return f"{_(_NO_INGESTOR)} {_(_SEE_INGESTOR)}"
    if _is_silent(beat, context):
        since = text.moment(beat.at, context.now(), context.zone)
        return f"{_(_SILENT, since=since)} {_(_SEE_INGESTOR)}"
    return "" if beat.broker_connected else f"{_(_NO_BROKER)} {_(_SEE_BROKER)}"


def certificate(context: PageContext) -> str:
    """Return for an admin that the broker's certificate has ended or ends soon; empty if not."""
    end = context.publisher.certificate_end if context.publisher is not None and context.may_administer else None
    if end is None or end - context.now() > CERTIFICATE_MILLISECONDS:
        return ""
    at = text.moment(end, context.now(), context.zone)
    return _(_CERTIFICATE_ENDED if end <= context.now() else _CERTIFICATE_ENDS, at=at)


def failures(context: PageContext) -> str:
    """Return what it means that queries of the page failed, although the database can be read; empty if none did."""
    failed = last_good.recent_failures(context)
    if not failed:
        return ""
    return _(_TOO_SLOW) if all(failed) else f"{_(_PARTLY_FAILED)} {_(_SEE_DATABASE)}"


def obstacle(context: PageContext, *, signed: bool = True) -> str:
    """Return why no request can be made now, as a sentence; empty if one can. `signed`: it needs a signing key."""
    if context.publisher is None:
        return ""
    try:
        beat = heartbeat.latest_heartbeat(context.engine)
    except SQLAlchemyError:
        return _(_CANNOT_ACT_DATABASE)
    unavailable = context.publisher.unavailable(context.org) if signed else context.publisher.unreachable()
    if unavailable:
        return unavailable
    if _is_silent(beat, context):
        return _(_CANNOT_ACT_SILENT)
    return "" if beat is None or beat.broker_connected else _(_CANNOT_ACT_BROKER)


def _is_silent(beat: Heartbeat | None, context: PageContext) -> bool:
    return beat is None or context.now() - beat.at > SILENT_MILLISECONDS
