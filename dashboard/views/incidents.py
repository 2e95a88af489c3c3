"""What concerns more than one machine: silences of many at once, shared identities, and when the server was blind."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard import live, markup, queries, text
from dashboard.text import Word
from dashboard.view import Context, View

VIEW = View(title="Incidents", path="incidents", icon=":material/emergency_home:", order=5)

_SHOWN: Final = 100
_NONE_TITLE: Final = "No incident"
_NONE: Final = "Nothing has concerned several machines at once. Each machine's own comings and goings are on its page."
_OPEN, _OVER = Word("Open", "bad"), Word("Over", "plain")


def show(context: Context) -> None:
    """Draw the page."""
    st.html(markup.heading("Incidents", 1))
    st.fragment(_incidents, run_every=context.refresh_seconds, key="incidents")(context)


def _incidents(context: Context) -> None:
    found = live.read(context, "incidents", partial(queries.incidents, context.engine, context.org, limit=_SHOWN))
    if found is None:
        return
    if not found:
        st.html(markup.empty(_NONE_TITLE, _NONE))
        return
    now = context.now()
    lines = [
        (text.moment(row.started_at, now, context.zone), _OPEN if row.ended_at is None else _OVER, sentence(row, now))
        for row in found
    ]
    with st.container(border=True, key="card_incidents"):
        st.html(markup.timeline(lines))


def sentence(row: Row[Any], now: int) -> str:
    """What happened, in words, and for how long."""
    details: Mapping[str, Any] = row.details or {}
    lasted = text.duration(((row.ended_at or now) - row.started_at) / 1000)
    match row.kind:
        case "mass-silence":
            named = ", ".join(str(name) for name in details.get("names", ())[:8])
            what = f"{details.get('machines')} of {details.get('of')} machines went quiet together: {named}"
        case "cloned-identity":
            what = f"Two copies of the machine {details.get('machine')} run: give one of them an id of its own"
        case "noisy":
            who = f"The machine {details['machine']}" if details.get("machine") else "The organisation"
            what = f"{who} sends more than it may: {details.get('dropped')} messages were dropped"
        case "blind":
            what = "The server could not hear anybody: it had no connection to the broker"
        case other:
            what = str(other)
    return f"{what} ({lasted})"
