"""Progress of the commands that were just sent, from the database; those not recorded yet are shown as sending."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.i18n import text
from dashboard.i18n.language import _
from dashboard.page import dialog_steps, last_good, refresh
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import SentBatch
from dashboard.widgets import markup
from schemas.database.queries.commands import find_recorded
from schemas.database.queries.requests import find_refusals

SHOWN_MAX: Final = 200
_REFRESH_SECONDS: Final = 1.0
_SENDING: Final = "sending"
_ACTIVITY: Final = "activity"
Line = tuple[str, str, str]
"""A machine, the code of its command's state, and the reason."""


def draw(sent: SentBatch, title: str, context: PageContext, state: DialogState) -> None:
    """Draw the progress of what was sent."""
    st.html(markup.heading(title, 3))
    refresh.auto_refresh(partial(_lines, context, state, sent), seconds=_REFRESH_SECONDS, key="act.progress")
    st.html(markup.note(_("You can close this. Progress continues in Activity.")))
    with st.container(horizontal=True):
        if _ACTIVITY in context.pages:
            st.page_link(context.pages[_ACTIVITY], label=_("Activity"), query_params={"batch": sent.batch})
        st.space("stretch")
        dialog_steps.close_button(state, _("Close"))


def _lines(context: PageContext, state: DialogState, sent: SentBatch) -> None:
    known = last_good.read_org(context, "act.recorded", find_recorded, [order.id for order in sent.orders])
    refused = last_good.read_org(context, "act.refused", find_refusals, list(sent.requests))
    rows = lines(sent, known or {}, refused or {})
    st.html(markup.counts(counted(rows)))
    shown = sorted(rows, key=lambda row: row[1] == "succeeded")[:SHOWN_MAX]
    st.html(markup.outcomes([(name, text.command(state), why) for name, state, why in shown], _("Outcomes")))
    if len(rows) > SHOWN_MAX:
        st.html(markup.note(text.and_more(len(rows) - SHOWN_MAX)))
    if rows and all(code == "refused" for _name, code, _why in rows):
        dialog_steps.reopen_button(state)


def lines(sent: SentBatch, known: Mapping[str, Row[Any]], refused: Mapping[str, str]) -> list[Line]:
    """Return the state of each order. One that is not recorded is refused if its request was, otherwise sending."""
    reasons = {id_: why for request, why in refused.items() for id_ in sent.requests.get(request, ())}
    found = []
    for order in sent.orders:
        row = known.get(order.id)
        if row is not None:
            found.append((order.machine, row.state, text.command_reason(row.reason, row.detail)))
        elif order.id in reasons:
            found.append((order.machine, "refused", reasons[order.id]))
        else:
            found.append((order.machine, _SENDING, ""))
    return found


def counted(rows: Sequence[Line]) -> list[tuple[text.Word, str]]:
    """Return the number of commands in each state, in the order of the states."""
    counts = Counter(state for _name, state, _why in rows)
    return [(text.command(code), text.count(counts[code])) for code in text.COMMANDS if code in counts]
