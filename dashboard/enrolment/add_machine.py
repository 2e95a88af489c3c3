"""Dialog that adds machines: it creates a token, shows the command to run, and which machines have arrived since.

Invariants:
- The token's secret is generated in this process and shown once; only its hash is published.
- What refreshes shows the arrivals; the dialog may be closed at any time, and the machines arrive all the same.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from broker.access.credentials import hash_secret, new_token
from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import dialog_steps, last_good
from dashboard.page.dialog_steps import DialogState
from dashboard.page.install_command import CA_NAME
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.contract.administration import TOKEN_USES_MAX, AddToken
from schemas.database.queries import settings
from schemas.fleet.machine_name import machine_name

LIFETIMES: Final = (900, 3600, 86_400, 7 * 86_400, 30 * 86_400)
_SHOWN_MAX: Final = 20
_RUN: Final = marked("On the machine, run this command. It asks for the token and installs the agent as a service:")
_WINDOWS: Final = marked("On Windows, in PowerShell as an administrator")
_UNREACHABLE: Final = marked(
    "Other machines cannot reach this dashboard at {url}. Put it behind a proxy with TLS and set url_for_machines, or "
    "copy the directory that dashfleet bundle --output DIR writes to the machine, and run: sudo sh DIR/install.sh"
)
_LOCAL: Final = marked(
    "No address is known at which other machines reach the broker. A broker of dashfleet up listens on this machine "
    "only: run dashfleet tls NAME, then dashfleet up --listen 0.0.0.0. For another broker, replace SERVER with its "
    "address; with the setting machines_server the dashboard shows it here."
)
_TRUST: Final = marked("The machine verifies this server with the certificate in {file}: copy it there first.")
_WAITING: Final = marked("Waiting for the first machine …")


def request() -> None:
    """Have the next run of the page open the dialog."""
    dialog_steps.request(_("Add machines"), form)


def form(context: PageContext, state: DialogState) -> None:
    """Draw the form: for how many machines, and for how long."""
    st.number_input(_("Number of machines"), 1, TOKEN_USES_MAX, 1, key=state.key("uses"))
    st.selectbox(_("Valid for"), LIFETIMES, index=1, format_func=text.period, key=state.key("lifetime"))
    dialog_steps.buttons(state, _("Create token"), partial(_create, context, state))


def _create(context: PageContext, state: DialogState) -> None:
    token, uses = new_token(context.org), int(state.value("uses") or 1)
    make = partial(
        AddToken,
        name=token.name,
        secret_hash=hash_secret(token.secret),
        uses=uses,
        lifetime_seconds=int(state.value("lifetime") or 3600),
    )
    state.reveal = partial(_install, token.name, uses)
    change_dialog.publish(context, state, make, title=_("New token {name}", name=token.name), secret=str(token))


def _install(token_name: str, uses: int, context: PageContext, state: DialogState) -> None:
    """Draw the command and its progress; drawn again twice a second."""
    broker = context.broker
    st.html(markup.note(_(_RUN)))
    st.code(broker.install_command, language=None, wrap_lines=True)
    with st.expander(_(_WINDOWS)):
        st.code(broker.windows_command, language=None, wrap_lines=True)
    if not broker.is_dashboard_reachable:
        st.html(markup.note(_(_UNREACHABLE, url=broker.dashboard)))
    if not broker.is_known:
        st.html(markup.note(_(_LOCAL)))
    if CA_NAME in broker.install_options:
        st.html(markup.note(_(_TRUST, file=CA_NAME)))
        if broker.ca_file is not None and broker.ca_file.exists():
            content = broker.ca_file.read_bytes()
            st.download_button(CA_NAME, content, CA_NAME, on_click="ignore", key=state.button_key("ca"))
    found = last_good.read_org(context, f"arrivals.{token_name}", settings.list_arrivals, token_name)
    _arrivals(found or [], uses)


def _arrivals(found: Sequence[Row[Any]], uses: int) -> None:
    arrived = [row for row in found if row.last_seen_at is not None]
    count = ngettext("{arrived} of {n} arrived", "{arrived} of {n} arrived", uses, arrived=text.count(len(arrived)))
    st.html(markup.heading(count, 3))
    if not found:
        st.html(markup.note(_(_WAITING)))
        return
    rows = [(machine_name(row.machine, row.hostname), text.presence(row.presence), "") for row in found[:_SHOWN_MAX]]
    st.html(markup.outcomes(rows, _("Machines")))
    if len(found) > _SHOWN_MAX:
        st.html(markup.note(text.and_more(len(found) - _SHOWN_MAX)))
