"""Users of the dashboard: roles, passwords, sign-in sessions. Changed at once, in the dashboard's own database."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.auth.user_administration import Admin, UserAdministration
from dashboard.auth.users import UserRole
from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import dialog_steps
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import ROLES, PageContext
from dashboard.settings import credential_section
from dashboard.settings.section import SectionRow, SettingsSection
from dashboard.widgets import cells, markup

SECTION = SettingsSection(title=marked("Users"), code="people", order=1)

_PERMISSIONS: Final = {
    UserRole.VIEWER: marked("read-only"),
    UserRole.OPERATOR: marked("runs actions on machines"),
    UserRole.ADMIN: marked("also changes settings, users and credentials"),
}
_COLUMNS: Final = (
    ("name", marked("Name")),
    ("role", marked("Role")),
    ("factor", marked("Second factor")),
    ("sessions", marked("Signed in")),
    ("seen", marked("Last seen")),
    ("when", marked("Created")),
)
_INTRO: Final = marked("Users who can sign in to this dashboard and see this organisation.")
_SELF: Final = marked("This is you. Another admin can change your role or password, or remove you.")
_PROVIDED: Final = marked(
    "Signs in with your identity provider, which decides on the role; removed here, the user can sign in again."
)
_PASSWORD: Final = marked("{name} signs in with this temporary password. Send it over a channel that you trust.")
_ROLE_WARNING: Final = marked("{name} is signed out everywhere, and has the new role at the next sign-in.")
_RESET: Final = marked("{name} gets a new password, and is signed out everywhere.")
_RESET_FACTOR: Final = marked(
    "{name} signs in with the password alone until a new second factor is set up. Be sure that it is {name} who asks."
)
_SIGN_OUT: Final = marked("{name} is signed out everywhere, and can sign in again.")
_REMOVE: Final = marked("{name} is signed out everywhere, and cannot sign in again.")


def show(context: PageContext) -> None:
    """Draw the section."""
    people = context.users
    if people is not None:
        credential_section.draw(
            SECTION,
            intro=_INTRO,
            add=(marked("Add user …"), partial(_new, people)),
            columns=_COLUMNS,
            rows=[_row(context, people, row) for row in people.listed(context.org)],
        )


def _row(context: PageContext, people: UserAdministration, row: Row[Any]) -> SectionRow:
    shown = (
        cells.name(row.name, _("you") if row.name == context.user else ""),
        cells.plain(_(ROLES[row.role])),
        cells.plain(_factor(row)),
        cells.plain(ngettext("{n} session", "{n} sessions", row.sessions) if row.sessions else text.UNKNOWN),
        cells.plain(text.ago(row.seen_at, context.now()) if row.seen_at else text.UNKNOWN),
        cells.plain(context.moment(row.created_at)),
    )
    return SectionRow(row.name, shown, partial(_details, people, row))


def _factor(row: Row[Any]) -> str:
    if row.provided:
        return _("with the provider")
    return _("set up") if row.second_factor else text.UNKNOWN


def _role_label(role: UserRole) -> str:
    return _("{name}: {value}", name=_(ROLES[role]), value=_(_PERMISSIONS[role]))


def _role_input(state: DialogState, role: UserRole) -> None:
    roles = list(UserRole)
    st.radio(_("Role"), roles, index=roles.index(role), format_func=_role_label, key=state.key("role"))


def _new(people: UserAdministration, context: PageContext, state: DialogState) -> None:
    st.text_input(_("User name"), max_chars=64, key=state.key("name"))
    dialog_steps.fault(state, "name")
    _role_input(state, UserRole.VIEWER)

    def add() -> None:
        name, role = str(state.value("name") or "").strip().lower(), UserRole(state.value("role"))
        create = partial(people.add, Admin(context.user, context.org), name, role)
        _store(state, name, create, done=_("{name}: {value}", name=name, value=_(ROLES[role])))

    dialog_steps.buttons(state, _("Add user"), add)


def _store(state: DialogState, name: str, change: Callable[[], str | None], *, done: str) -> None:
    def reveal(_context: PageContext, state: DialogState) -> None:
        if state.secret:
            st.html(markup.note(_(_PASSWORD, name=name)))

    state.reveal = reveal
    change_dialog.store(state, change, done=done)


def _details(people: UserAdministration, row: Row[Any], context: PageContext, state: DialogState) -> None:
    name, admin = str(row.name), Admin(context.user, context.org)
    steps: dict[str, tuple[str, str, Callable[[], str | None]]] = {
        "password": (_(_RESET, name=name), _("Reset password"), partial(people.reset_password, admin, name)),
        "factor": (
            _(_RESET_FACTOR, name=name),
            _("Reset second factor"),
            partial(people.reset_second_factor, admin, name),
        ),
        "sign-out": (_(_SIGN_OUT, name=name), _("Sign out everywhere"), partial(people.sign_out, admin, name)),
        "remove": (_(_REMOVE, name=name), _("Remove user"), partial(people.remove, admin, name)),
    }
    if state.step == "role":
        _role_step(people, row, context, state)
    elif state.step in steps:
        warning, label, change = steps[state.step]
        st.html(markup.banner(warning))
        dialog_steps.buttons(
            state, label, partial(_store, state, name, change, done=name), dangerous=state.step == "remove"
        )
    else:
        _facts(people, row, context, state)


def _role_step(people: UserAdministration, row: Row[Any], context: PageContext, state: DialogState) -> None:
    st.html(markup.note(_(_ROLE_WARNING, name=row.name)))
    _role_input(state, UserRole(row.role))

    def change() -> None:
        role = UserRole(state.value("role"))
        set_role = partial(people.set_role, Admin(context.user, context.org), row.name, role)
        _store(state, row.name, set_role, done=f"{row.name}: {_(ROLES[role])}")

    dialog_steps.buttons(state, _("Change role"), change)


def _facts(people: UserAdministration, row: Row[Any], context: PageContext, state: DialogState) -> None:
    st.html(markup.facts([(_("Role"), _role_label(UserRole(row.role)))]))
    st.html(markup.heading(_("Signed in"), 3))
    sessions = people.sessions_of(context.org, row.name)
    lines = [f"{text.ago(each.seen_at, context.now())} · {each.address} · {each.browser}" for each in sessions]
    st.html(markup.lines(lines or [_("Not signed in anywhere.")]))
    if row.name == context.user:
        st.html(markup.banner(_(_SELF)))
    else:
        steps = {"sign-out": _("Sign out …"), "remove": _("Remove …")}
        if row.provided:
            st.html(markup.note(_(_PROVIDED)))
        else:
            factor = {"factor": _("Reset second factor …")} if row.second_factor else {}
            steps = {"role": _("Change role …"), "password": _("Reset password …"), **factor, **steps}
        credential_section.step_buttons(state, steps)
    dialog_steps.buttons(state)
