"""The dialogs that acknowledge alerts and withdraw an acknowledgement."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import streamlit as st

from dashboard.changes import change_dialog
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import dialog_steps
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.contract.alerts import ACKNOWLEDGED_MAX, COMMENT_MAX, Acknowledge, Unacknowledge

_NOTE: Final = marked("Nobody is reminded of an acknowledged alert. It stays active until it is resolved.")

_WITHDRAWN_NOTE: Final = marked("People are reminded of these alerts again, until they are acknowledged or resolved.")


def request(ids: Sequence[int]) -> None:
    """Have the next run open the dialog for these alerts, of which at most ACKNOWLEDGED_MAX are taken."""
    alerts = tuple(ids[:ACKNOWLEDGED_MAX])
    title = ngettext("Acknowledge {n} alert", "Acknowledge {n} alerts", len(alerts))
    dialog_steps.request(title, _form, alerts=alerts)


def _form(context: PageContext, state: DialogState) -> None:
    st.html(markup.note(_(_NOTE)))
    st.text_input(_("Comment (optional)"), max_chars=COMMENT_MAX, key=state.key("comment"))
    acknowledge = partial(change_dialog.publish, context, state, partial(_change, state))
    dialog_steps.buttons(state, _("Acknowledge"), acknowledge)


def _change(state: DialogState) -> Acknowledge:
    return Acknowledge(alerts=state.about["alerts"], comment=str(state.value("comment") or "").strip())


def request_withdrawal(ids: Sequence[int]) -> None:
    """Have the next run open the dialog that withdraws the acknowledgement of these alerts."""
    dialog_steps.request(_("Withdraw acknowledgement"), _withdrawal, alerts=tuple(ids[:ACKNOWLEDGED_MAX]))


def _withdrawal(context: PageContext, state: DialogState) -> None:
    st.html(markup.note(_(_WITHDRAWN_NOTE)))
    withdraw = partial(change_dialog.publish, context, state, partial(Unacknowledge, alerts=state.about["alerts"]))
    dialog_steps.buttons(state, _("Withdraw"), withdraw)
