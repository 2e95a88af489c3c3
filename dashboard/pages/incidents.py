"""What concerns more than one machine: silences of many at once, shared identities, and when the server was blind."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext, pgettext
from dashboard.i18n.text import Word
from dashboard.page import refresh
from dashboard.page.page import Page, PageContext
from dashboard.widgets import markup
from schemas.database.queries import machines

PAGE = Page(title=marked("Incidents"), path="incidents", icon=":material/emergency_home:", order=5)

_SHOWN: Final = 100
_NONE_TITLE: Final = marked("No incident")
_NONE: Final = marked(
    "Nothing has concerned several machines at once. Each machine's own comings and goings are on its page."
)


def show(context: PageContext) -> None:
    """Draw the page."""
    st.html(markup.heading(_(PAGE.title), 1))
    refresh.refresh(partial(_incidents, context), seconds=context.refresh_seconds, key="incidents")


def _incidents(context: PageContext) -> None:
    found = refresh.read(context, "incidents", partial(machines.incidents, context.engine, context.org, limit=_SHOWN))
    if found is None:
        return
    if not found:
        st.html(markup.empty(_(_NONE_TITLE), _(_NONE)))
        return
    now = context.now()
    lines = [(text.moment(row.started_at, now, context.zone), _state(row), sentence(row, now)) for row in found]
    with st.container(border=True, key="card_incidents"):
        st.html(markup.timeline(lines))


def _state(row: Row[Any]) -> Word:
    return (
        Word(pgettext("incident", "Open"), "bad")
        if row.ended_at is None
        else Word(pgettext("incident", "Over"), "plain")
    )


def sentence(row: Row[Any], now: int) -> str:
    """What happened, in words, and for how long."""
    details: Mapping[str, Any] = row.details or {}
    lasted = text.duration(((row.ended_at or now) - row.started_at) / 1000)
    match row.kind:
        case "mass-silence":
            named = ", ".join(str(name) for name in details.get("names", ())[:8])
            what = ngettext(
                "{machines} of {n} machine went quiet together: {named}",
                "{machines} of {n} machines went quiet together: {named}",
                int(details.get("of", 0)),
                machines=text.count(int(details.get("machines", 0))),
                named=named,
            )
        case "cloned-identity":
            what = _(
                "Two copies of the machine {machine} run: give one of them an id of its own",
                machine=details.get("machine"),
            )
        case "noisy":
            what = _noisy(details)
        case "blind":
            what = _("The server could not hear anybody: it had no connection to the broker")
        case other:
            what = str(other)
    return f"{what} ({lasted})"


def _noisy(details: Mapping[str, Any]) -> str:
    dropped = int(details.get("dropped", 0))
    if details.get("machine"):
        return ngettext(
            "The machine {machine} sends more than it may: {n} message was dropped",
            "The machine {machine} sends more than it may: {n} messages were dropped",
            dropped,
            machine=details["machine"],
        )
    return ngettext(
        "The organisation sends more than it may: {n} message was dropped",
        "The organisation sends more than it may: {n} messages were dropped",
        dropped,
    )
