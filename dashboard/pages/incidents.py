"""Incidents: machines that stopped reporting at the same time, shared identities, and lost broker connections."""

from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.alerts.incident_text import incident_sentence
from dashboard.i18n.language import _, marked, pgettext
from dashboard.i18n.text import Word
from dashboard.page import last_good, refresh
from dashboard.page.page import Page, PageContext
from dashboard.widgets import markup
from schemas.database.queries import incidents

PAGE = Page(title=marked("Incidents"), path="incidents", icon=":material/emergency_home:", order=5)

_SHOWN: Final = 100
_NONE: Final = marked("No event has concerned several machines at once. Events of a single machine are on its page.")


def show(context: PageContext) -> None:
    """Draw the page."""
    st.html(markup.heading(_(PAGE.title), 1))
    refresh.auto_refresh(partial(_incidents, context), seconds=context.refresh_seconds, key="incidents")


def _incidents(context: PageContext) -> None:
    found = last_good.read_org(context, "incidents", incidents.list_incidents, limit=_SHOWN)
    if found is None:
        return
    if not found:
        st.html(markup.empty(_("No incidents"), _(_NONE)))
        return
    now = context.now()
    lines = [(context.moment(row.started_at), _state(row), incident_sentence(row, now)) for row in found]
    with st.container(border=True, key="card_incidents"):
        st.html(markup.timeline(lines))


def _state(row: Row[Any]) -> Word:
    return Word(pgettext("incident", "Open"), "bad") if row.ended_at is None else Word(_("Resolved"), "plain")
