"""Taking a machine out of service, and taking it back: who may, and whether it is meant."""

from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.changes import change_dialog
from dashboard.changes.change_dialog import Draft
from dashboard.i18n.language import _, marked
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.contract.administration import ReinstateMachine, RetireMachine
from schemas.database.queries import machines

_IN_SERVICE: Final = marked("Retiring takes it out of service: it connects no more. Its history stays.")
_RETIRED: Final = marked("It is out of service, and connects no more.")
_ONLY_ADMINS: Final = marked("An admin can take it back.")
_RETIRE: Final = marked(
    "{machine} is disconnected within seconds and shown as retired. What waits for it is cancelled, and only an admin "
    "can take it back."
)
_REINSTATE: Final = marked(
    "{machine} may connect again with the secret that it had. If others may know that secret, leave it retired and "
    "enrol the machine anew."
)


def draw(context: PageContext, row: Row[Any]) -> None:
    """Draw what can be done about a machine's service, for whoever may."""
    retired = row.presence == machines.RETIRED
    st.html(markup.note(_(_RETIRED) if retired else _(_IN_SERVICE)))
    if retired and not context.may_administer:
        st.html(markup.note(_(_ONLY_ADMINS)))
        return
    title = _("Take {machine} back", machine=row.name) if retired else _("Retire {machine}", machine=row.name)
    st.button(
        _("Take back …") if retired else _("Retire …"),
        key="machine.service",
        disabled=bool(refresh.obstacle(context, signed=False)),
        on_click=partial(change_dialog.ask, title, _reinstate if retired else _retire, machine=row.name),
    )


def _retire(context: PageContext, draft: Draft) -> None:
    name = str(draft.about["machine"])
    st.html(markup.banner(_(_RETIRE, machine=name)))
    st.text_input(_("To be sure, type its name: {word}", word=markup.plain(name)), key=draft.key("typed"), live="300ms")
    change_dialog.buttons(draft, _("Retire"), partial(_send, context, draft), disabled=draft.value("typed") != name)


def _send(context: PageContext, draft: Draft) -> None:
    name = str(draft.about["machine"])
    if draft.value("typed") == name:
        change_dialog.request(context, draft, RetireMachine(machine=name))


def _reinstate(context: PageContext, draft: Draft) -> None:
    name = str(draft.about["machine"])
    st.html(markup.banner(_(_REINSTATE, machine=name)))
    change = ReinstateMachine(machine=name)
    change_dialog.buttons(draft, _("Take back"), partial(change_dialog.request, context, draft, change))
