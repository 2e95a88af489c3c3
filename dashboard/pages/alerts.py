"""Alerts of single machines, active and resolved."""

from functools import partial
from typing import Final

import streamlit as st

from dashboard.alerts import rows as alert_rows
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import last_good, refresh
from dashboard.page.page import Page, PageContext
from dashboard.widgets import cells, markup, table
from schemas.database.queries import alerts

PAGE = Page(title=marked("Alerts"), path="alerts", icon=":material/notifications:", order=2)

_MACHINE: Final = "machine"
_SHOWN: Final = 200
_NONE: Final = marked(
    "An alert is raised when a machine stays offline, runs short of CPU, memory or disk, has a wrong clock, or sends "
    "no metrics. Many machines that stop reporting at the same time are an incident instead."
)


def show(context: PageContext) -> None:
    """Draw the page."""
    st.html(markup.heading(_(PAGE.title), 1))
    refresh.auto_refresh(partial(_alerts, context), seconds=context.refresh_seconds, key="alerts")


def _alerts(context: PageContext) -> None:
    found = last_good.read_org(context, "alerts", alerts.list_org_alerts, limit=_SHOWN)
    if found is None:
        refresh.until_readable(context)
        return
    if not found:
        st.html(markup.empty(_("No alerts"), _(_NONE)))
        return
    active = sum(row.ended_at is None for row in found)
    st.html(markup.note(ngettext("{n} active alert", "{n} active alerts", active)))
    rows = alert_rows.rows(found, context.now(), context.zone, path=f"/{_MACHINE}")
    opened = table.draw("alerts_table", _(PAGE.title), cells.columns(alert_rows.HEADS), rows, total=len(rows))
    if opened:
        st.switch_page(context.pages[_MACHINE], query_params={"id": opened})
