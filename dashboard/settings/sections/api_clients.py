"""Credentials of API clients: programs that read the topics or send requests."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st
from pydantic import ValidationError
from sqlalchemy import Row

from broker.access.credentials import hash_secret, new_secret
from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good, system_status
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.settings import credential_section
from dashboard.settings.section import SectionRow, SettingsSection
from dashboard.widgets import cells, markup
from schemas.contract.administration import AddPrincipal, RevokePrincipal, RotatePrincipal
from schemas.database.queries import settings

SECTION = SettingsSection(title=marked("API clients"), code="programs", order=3)

ROLES: Final = {
    "reader": marked("Reader: reads what machines publish"),
    "operator": marked("Operator: reads, and runs actions on machines with its own signing key"),
}
OVERLAPS: Final = (0, 3600, 86_400, 7 * 86_400)
_COLUMNS: Final = (
    ("name", marked("Name")),
    ("state", marked("State")),
    ("role", marked("Role")),
    ("user", marked("User name")),
    ("when", marked("Created")),
)
_INTRO: Final = marked("Programs that subscribe to the topics of this organisation, each with its own credential.")
_REVOKE: Final = marked("{name} is disconnected within seconds and cannot connect again.")
_ROTATE: Final = marked("{name} gets a new secret. The old secret stays valid for a while, so that you can replace it.")
_REVIVE: Final = marked("{name} is revoked. It can be added again, with a new secret.")


def show(context: PageContext) -> None:
    """Draw the section."""
    found = last_good.read(context, "settings.programs", partial(settings.list_programs, context.engine, context.org))
    credential_section.draw(
        SECTION,
        intro=_INTRO,
        add=(marked("Add client …"), _new),
        columns=_COLUMNS,
        rows=None if found is None else [_row(context, row) for row in found],
        empty=(_("No API clients"), _("Add a client, and configure it with the secret that is shown then.")),
        blocked=bool(system_status.obstacle(context, signed=False)),
    )


def _row(context: PageContext, row: Row[Any]) -> SectionRow:
    shown = (
        cells.name(row.name),
        cells.chip(credential_section.state(revoked=row.revoked_at is not None)),
        cells.plain(_(ROLES[row.role]).partition(":")[0]),
        cells.plain(row.username),
        cells.plain(context.moment(row.created_at)),
    )
    return SectionRow(row.name, shown, partial(_details, row))


def _new(context: PageContext, state: DialogState) -> None:
    st.text_input(_("Name"), max_chars=63, key=state.key("name"), placeholder="grafana")
    dialog_steps.fault(state, "name")
    st.radio(_("Role"), list(ROLES), format_func=lambda role: _(ROLES[role]), key=state.key("role"))

    def add() -> None:
        _add(context, state, str(state.value("name") or "").strip(), state.value("role"))

    dialog_steps.buttons(state, _("Add client"), add)


def _add(context: PageContext, state: DialogState, name: str, role: Any) -> None:  # noqa: ANN401 - validated by `AddPrincipal`
    secret = new_secret()
    state.reveal = partial(_connection, f"{context.org}._{name}")
    make = partial(AddPrincipal, name=name, role=role, secret_hash=hash_secret(secret))
    change_dialog.publish(context, state, make, title=_("Add {name}", name=name), secret=secret, faults=_faults)


def _faults(_error: ValidationError) -> Mapping[str, str]:
    return {"name": _("A name is 1 to 63 lower-case letters, digits and inner hyphens.")}


def _connection(username: str, context: PageContext, _state: DialogState) -> None:
    st.html(markup.note(_("User name and client id for the connection:")))
    st.code(username, language=None)
    if context.broker.is_known:
        st.html(markup.note(_("The broker: {server}", server=context.broker.server)))


def _details(row: Row[Any], context: PageContext, state: DialogState) -> None:
    if state.step == "revoke":
        revoke = partial(RevokePrincipal, name=row.name)
        credential_section.revoke_step(context, state, row.name, _(_REVOKE, name=row.name), revoke)
        return
    if state.step == "rotate":
        _rotate_form(row, context, state)
        return
    facts = [
        (_("State"), credential_section.state(revoked=row.revoked_at is not None).label),
        (_("Role"), _(ROLES[row.role])),
        (_("User name"), row.username),
        (_("Created"), context.moment(row.created_at)),
    ]
    if row.previous_until is not None and row.previous_until > context.now():
        facts.append((_("Old secret"), _("valid until {at}", at=context.moment(row.previous_until))))
    st.html(markup.facts(facts))
    if row.revoked_at is not None:
        st.html(markup.note(_(_REVIVE, name=row.name)))
        dialog_steps.buttons(state, _("Add again"), partial(_add, context, state, row.name, row.role))
        return
    credential_section.step_buttons(state, {"rotate": _("New secret …"), "revoke": _("Revoke …")})
    dialog_steps.buttons(state)


def _rotate_form(row: Row[Any], context: PageContext, state: DialogState) -> None:
    st.html(markup.note(_(_ROTATE, name=row.name)))
    st.selectbox(
        _("Old secret stays valid for"),
        OVERLAPS,
        index=2,
        format_func=lambda seconds: text.period(seconds) if seconds else _("not at all"),
        key=state.key("overlap"),
    )
    dialog_steps.buttons(state, _("Create secret"), partial(_rotate, row, context, state))


def _rotate(row: Row[Any], context: PageContext, state: DialogState) -> None:
    secret, overlap = new_secret(), int(state.value("overlap") or 0)
    state.reveal = partial(_connection, row.username)
    make = partial(RotatePrincipal, name=row.name, secret_hash=hash_secret(secret), overlap_seconds=overlap)
    change_dialog.publish(context, state, make, title=_("New secret of {name}", name=row.name), secret=secret)
