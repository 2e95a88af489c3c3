"""How machines get on with what was just asked of them: read from the database, and said of those not recorded yet."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.actions.draft import ActionDraft
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import last_good, refresh
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import SentBatch
from dashboard.widgets import markup
from schemas.database.queries.commands import WAITING, find_recorded
from schemas.database.queries.requests import find_refusals

SHOWN_MAX: Final = 200
_REFRESH_SECONDS: Final = 1.0
_SENDING: Final = "sending"
_ACTIVITY: Final = "activity"
_GOES_ON: Final = marked("This may be closed: it goes on, and the activity page shows it.")

Line = tuple[str, str, str]
"""A machine, the code of its state, and why."""


def draw(context: PageContext, draft: ActionDraft) -> None:
    """Draw the progress of what was sent, live until there is nothing more to see."""
    sent = draft.sent
    if sent is None:
        return
    st.html(markup.heading(draft.title, 3))
    refresh.auto_refresh(partial(_lines, context, sent), seconds=_REFRESH_SECONDS, key="act.progress")
    st.html(markup.note(_(_GOES_ON)))
    with st.container(horizontal=True):
        if _ACTIVITY in context.pages:
            st.page_link(context.pages[_ACTIVITY], label=_("Activity"), query_params={"batch": sent.batch})
        st.space("stretch")
        if st.button(_("Close"), key="act.close"):
            st.rerun()


def _lines(context: PageContext, sent: SentBatch) -> None:
    ids = [order.id for order in sent.orders]
    known = last_good.read(context, "act.recorded", partial(find_recorded, context.engine, context.org, ids))
    refused = last_good.read(
        context, "act.refused", partial(find_refusals, context.engine, context.org, list(sent.requests))
    )
    rows = lines(sent, known or {}, refused or {})
    st.html(markup.counts(counted(rows)))
    shown = sorted(rows, key=lambda row: row[1] == "succeeded")[:SHOWN_MAX]
    st.html(markup.outcomes([(name, text.command(state), why) for name, state, why in shown], _("Outcomes")))
    if len(rows) > SHOWN_MAX:
        st.html(markup.note(text.and_more(len(rows) - SHOWN_MAX)))


def lines(sent: SentBatch, known: Mapping[str, Row[Any]], refused: Mapping[str, str]) -> list[Line]:
    """Where each order is. What the database does not have is refused, when its request was, or still on its way."""
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
    """How many are in each state, in the order of the states."""
    counts = Counter(state for _name, state, _why in rows)
    return [(text.command(code), text.count(counts[code])) for code in text.COMMANDS if code in counts]


def is_over(states: Sequence[str]) -> bool:
    """Whether nothing will change any more by itself."""
    return not any(state in WAITING or state == _SENDING for state in states)
