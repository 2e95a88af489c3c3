"""Silences: when nobody is notified of alerts, active, planned and past."""

from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.changes import pending_changes
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good, refresh, system_status
from dashboard.page.page import Page, PageContext
from dashboard.silences import form, texts
from dashboard.widgets import cells, markup, table
from schemas.database.queries.alerts import list_silences
from schemas.fleet.silences import Silence, SilenceState

PAGE = Page(title=marked("Silences"), path="silences", icon=":material/notifications_off:", order=20)

_PAST: Final = "silences.past"
_SHOWN_MAX: Final = 500
_COLUMNS: Final[cells.Heads] = (
    ("reason", marked("Reason")),
    ("state", marked("State")),
    ("machines", marked("Machines")),
    ("rule", marked("Rule")),
    ("when", marked("When")),
    ("by", marked("Created by")),
)
_INTRO: Final = marked(
    "During a silence nobody is notified of the alerts that it covers; they are recorded and shown as usual. A "
    "restart or reboot that is run from here silences its machine by itself."
)
_NONE: Final = marked("Add one before maintenance, so that nobody is notified of what it causes.")
_NONE_TO_SEE: Final = marked("Operators add them before maintenance, so that nobody is notified of what it causes.")


def show(context: PageContext) -> None:
    """Draw the page."""
    dialog_steps.open_requested(context)
    st.html(markup.heading(_(PAGE.title), 1))
    st.html(markup.note(_(_INTRO)))
    refresh.auto_refresh(partial(_list, context), seconds=context.refresh_seconds, key="silences")


def _list(context: PageContext) -> None:
    if dialog_steps.is_requested():
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key="silences_head"):
        if context.may_act:
            why = system_status.obstacle(context, signed=False)
            st.button(_("New silence …"), type="primary", key="silences.new", disabled=bool(why), on_click=form.request)
        st.space("stretch")
        st.toggle(_("Show past silences"), key=_PAST)
    pending_changes.draw(context)
    found = last_good.read_org(context, "silences", list_silences, limit=_SHOWN_MAX)
    if found is None:
        return
    now = context.now()
    order = list(SilenceState)
    shown = sorted((each.silence for each in found), key=lambda silence: (order.index(silence.state(now)), -silence.id))
    if not st.session_state.get(_PAST):
        shown = [silence for silence in shown if silence.state(now) is not SilenceState.PAST]
    if not shown:
        st.html(markup.empty(_("No silences"), _(_NONE) if context.may_act else _(_NONE_TO_SEE)))
        return
    rows = [_row(context, silence) for silence in shown]
    opened = table.draw("silences_table", _(PAGE.title), cells.columns(_COLUMNS), rows, total=len(rows))
    for silence in shown:
        if str(silence.id) == opened:
            form.request_details(silence)
            st.rerun()


def _row(context: PageContext, silence: Silence) -> dict[str, Any]:
    now = context.now()
    return cells.row(
        str(silence.id),
        f"/{PAGE.path}",
        cells.name(silence.reason),
        cells.chip(texts.state(silence.state(now))),
        cells.plain(texts.machines(silence.selector)),
        cells.plain(texts.rule(silence.rule, form.rule_titles(context))),
        cells.plain(texts.when(silence, now, context.zone)),
        cells.plain(silence.created_by or text.UNKNOWN),
    )
