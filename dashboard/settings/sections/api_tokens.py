"""Tokens of programs that use the HTTP API. Changed at once, in the dashboard's own database."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.api.tokens import ApiTokens
from dashboard.auth.user_administration import Admin
from dashboard.auth.users import UserRole
from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import ROLES, PageContext
from dashboard.settings import credential_section
from dashboard.settings.section import SectionRow, SettingsSection
from dashboard.widgets import cells, markup

SECTION = SettingsSection(title=marked("API tokens"), code="api-tokens", order=4)

LIFETIMES: Final = tuple(days * 86_400 for days in (1, 7, 30, 90, 365, 730))
_YEAR: Final = LIFETIMES.index(365 * 86_400)
_PERMISSIONS: Final = {
    UserRole.VIEWER: marked("reads everything except changes of users and API tokens"),
    UserRole.ADMIN: marked("reads everything"),
}
_COLUMNS: Final = (
    ("name", marked("Name")),
    ("state", marked("State")),
    ("role", marked("Role")),
    ("until", marked("Valid until")),
    ("used", marked("Last used")),
    ("who", marked("Created by")),
)
_INTRO: Final = marked("Tokens of programs that read the data of this organisation over HTTP. The API is read-only.")
_COPY: Final = marked("Copy it now: it will not be shown again.")
_REVOKE: Final = marked("Requests of {name} are rejected from now on.")


def show(context: PageContext) -> None:
    """Draw the section."""
    tokens = context.api_tokens
    if tokens is not None:
        credential_section.draw(
            SECTION,
            intro=_INTRO,
            add=(marked("Add API token …"), partial(_new, tokens)),
            columns=_COLUMNS,
            rows=[_row(context, tokens, row) for row in tokens.listed(context.org)],
            empty=(_("No API tokens"), _("Add a token for each program, and configure the program with it.")),
        )


def _row(context: PageContext, tokens: ApiTokens, row: Row[Any]) -> SectionRow:
    shown = (
        cells.name(row.name),
        cells.chip(credential_section.state(revoked=False, expired=context.now() >= row.expires_at)),
        cells.plain(_(ROLES[row.role])),
        cells.plain(context.moment(row.expires_at)),
        cells.plain(_last_use(context, row)),
        cells.plain(row.created_by or text.UNKNOWN),
    )
    return SectionRow(row.name, shown, partial(_details, tokens, row))


def _last_use(context: PageContext, row: Row[Any]) -> str:
    return _("never") if row.used_at is None else text.ago(row.used_at, context.now())


def _new(tokens: ApiTokens, context: PageContext, state: DialogState) -> None:
    st.text_input(_("Name"), max_chars=63, key=state.key("name"), placeholder="grafana")
    dialog_steps.fault(state, "name")
    st.radio(
        _("Role"),
        list(_PERMISSIONS),
        format_func=lambda role: _("{name}: {value}", name=_(ROLES[role]), value=_(_PERMISSIONS[role])),
        key=state.key("role"),
    )
    credential_section.lifetime_input(state, LIFETIMES, index=_YEAR)

    def add() -> None:
        name, role = str(state.value("name") or "").strip(), UserRole(state.value("role"))
        seconds = int(state.value("lifetime") or 0)
        create = partial(tokens.create_as, Admin(context.user, context.org), name, role, seconds=seconds)
        _store(state, create, done=_("{name}: {value}", name=name, value=_(ROLES[role])))

    dialog_steps.buttons(state, _("Add token"), add)


def _store(state: DialogState, change: Callable[[], str | None], *, done: str) -> None:
    change_dialog.store(state, change, done=done, note=_COPY)


def _details(tokens: ApiTokens, row: Row[Any], context: PageContext, state: DialogState) -> None:
    if state.step == "revoke":
        st.html(markup.banner(_(_REVOKE, name=row.name)))
        revoke = partial(tokens.revoke_as, Admin(context.user, context.org), row.name)
        dialog_steps.buttons(state, _("Revoke"), partial(_store, state, revoke, done=row.name), dangerous=True)
        return
    facts = [
        (_("State"), credential_section.state(revoked=False, expired=context.now() >= row.expires_at).label),
        (_("Role"), _(ROLES[row.role])),
        (_("Valid until"), context.moment(row.expires_at)),
        (_("Last used"), _last_use(context, row)),
        (_("Created"), context.moment(row.created_at)),
        (_("Created by"), row.created_by or text.UNKNOWN),
    ]
    st.html(markup.facts(facts))
    credential_section.step_buttons(state, {"revoke": _("Revoke …")})
    dialog_steps.buttons(state)
