"""Decommission of a machine: retire it, or return it to service."""

from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.changes import change_dialog
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, system_status
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.contract.administration import ReinstateMachine, RetireMachine
from schemas.database.queries.fleet_order import RETIRED

_RETIRE: Final = marked(
    "{machine} is disconnected within seconds and shown as retired. Its pending commands are cancelled, and only an "
    "admin can return it to service."
)
_REINSTATE: Final = marked(
    "{machine} can connect again with its old secret. If others may know that secret, leave it retired and enrol the "
    "machine again."
)


def draw(context: PageContext, row: Row[Any]) -> None:
    """Draw whether the machine is in service, and the button that changes it, for users with the permission."""
    retired = row.presence == RETIRED
    if retired:
        st.html(markup.note(_("This machine is retired and can no longer connect.")))
    else:
        st.html(markup.note(_("A retired machine can no longer connect. Its history is kept.")))
    if retired and not context.may_administer:
        st.html(markup.note(_("An admin can return it to service.")))
        return
    if retired:
        title, label = _("Return {machine} to service", machine=row.name), _("Return to service …")
    else:
        title, label = _("Retire {machine}", machine=row.name), _("Retire …")
    form = partial(_reinstate_form if retired else _retire_form, str(row.name))
    st.button(
        label,
        key="machine.service",
        disabled=bool(system_status.obstacle(context, signed=False)),
        on_click=partial(dialog_steps.request, title, form),
    )


def _retire_form(name: str, context: PageContext, state: DialogState) -> None:
    st.html(markup.banner(_(_RETIRE, machine=name)))
    confirmed = dialog_steps.confirmation_input(state, name)

    def retire() -> None:
        if dialog_steps.is_confirmed(state, name):
            change_dialog.publish(context, state, partial(RetireMachine, machine=name))

    dialog_steps.buttons(state, _("Retire"), retire, disabled=not confirmed, dangerous=True)


def _reinstate_form(name: str, context: PageContext, state: DialogState) -> None:
    st.html(markup.banner(_(_REINSTATE, machine=name)))
    reinstate = partial(change_dialog.publish, context, state, partial(ReinstateMachine, machine=name))
    dialog_steps.buttons(state, _("Return to service"), reinstate)
