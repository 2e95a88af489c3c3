"""The buttons that acknowledge and silence the active alerts of one machine."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from dashboard.i18n.language import _
from dashboard.page import system_status
from dashboard.page.page import PageContext
from dashboard.silences import acknowledgement, form
from dashboard.widgets import markup
from schemas.database.queries.problems import ListedProblem


def draw(context: PageContext, machine: str, active: Sequence[ListedProblem]) -> None:
    """Draw the buttons, for users with the permission. `active`: the machine's active alerts."""
    if not context.may_act or not active:
        return
    why = markup.plain(system_status.obstacle(context, signed=False)) or None
    new = [alert.number for alert in active if alert.acknowledged_at is None]
    rules = {alert.rule for alert in active}
    with st.container(horizontal=True, key="alert_buttons"):
        if new:
            st.button(
                _("Acknowledge …"),
                key="alerts.acknowledge",
                on_click=partial(acknowledgement.request, new),
                disabled=why is not None,
                help=why,
            )
        if known := [alert.number for alert in active if alert.acknowledged_at is not None]:
            st.button(
                _("Withdraw acknowledgement …"),
                key="alerts.unacknowledge",
                on_click=partial(acknowledgement.request_withdrawal, known),
                disabled=why is not None,
                help=why,
            )
        silence = partial(form.request, [machine], next(iter(rules)) if len(rules) == 1 else "")
        st.button(_("Silence …"), key="alerts.silence", on_click=silence, disabled=why is not None, help=why)
