"""Who may sign in: roles, passwords, sessions. Changed at once, as it is the dashboard's own record of people."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.auth.accounts import PersonRole
from dashboard.auth.people import Admin, People
from dashboard.changes import change_dialog
from dashboard.changes.change_dialog import Draft
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page.page import ROLES, PageContext
from dashboard.settings.section import SettingsSection, draw_table
from dashboard.widgets import cells, markup

SECTION = SettingsSection(title=marked("People"), code="people", order=1)

_MEANING: Final = {
    PersonRole.VIEWER: marked("looks"),
    PersonRole.OPERATOR: marked("looks, and acts on machines"),
    PersonRole.ADMIN: marked("also changes settings, people and credentials"),
}
_COLUMNS: Final = (
    ("name", marked("Name")),
    ("role", marked("Role")),
    ("sessions", marked("Signed in")),
    ("seen", marked("Last seen")),
    ("when", marked("Since")),
)
_WHY: Final = marked("Who may sign in to this dashboard and see this organisation.")
_SELF: Final = marked("This is you. Another admin can change your role or password, or remove you.")
_PROVIDED: Final = marked(
    "Signs in with your provider, which decides on the role, and lets whoever is removed here in again."
)
_NO_SESSION: Final = marked("Not signed in anywhere.")
_SIGN_IN: Final = marked("{name} signs in with it. Hand it over by a way that you trust.")
_ROLE_WARNING: Final = marked("{name} is signed out everywhere, and has the new role at the next sign-in.")
_RESET: Final = marked("{name} gets a new password, and is signed out everywhere.")
_SIGN_OUT: Final = marked("{name} is signed out everywhere, and may sign in again.")
_REMOVE: Final = marked("{name} is signed out everywhere, and can sign in no more.")


def show(context: PageContext) -> None:
    """Draw the section."""
    people = context.people
    if people is None:
        return
    st.html(markup.note(_(_WHY)))
    new = partial(change_dialog.ask, _("Let a person sign in"), partial(_new, people))
    st.button(_("Add a person …"), type="primary", key="settings.people.new", on_click=new)
    found = people.listed(context.org)
    ask = {row.name: partial(change_dialog.ask, row.name, partial(_one, people), row=row) for row in found}
    draw_table(SECTION, _COLUMNS, [_row(context, row) for row in found], ask)


def _row(context: PageContext, row: Row[Any]) -> dict[str, Any]:
    signed_in = ngettext("{n} session", "{n} sessions", row.sessions) if row.sessions else text.UNKNOWN
    return cells.row(
        row.name,
        f"/settings?section={SECTION.code}",
        cells.name(row.name, _("you") if row.name == context.user else ""),
        cells.plain(_(ROLES[row.role])),
        cells.plain(signed_in),
        cells.plain(text.ago(row.seen_at, context.now()) if row.seen_at else text.UNKNOWN),
        cells.plain(text.moment(row.created_at, context.now(), context.zone)),
    )


def _admin(context: PageContext) -> Admin:
    return Admin(context.user, context.org)


def _role(draft: Draft, role: PersonRole) -> None:
    st.radio(
        _("Role"),
        list(PersonRole),
        index=list(PersonRole).index(role),
        format_func=lambda each: f"{_(ROLES[each])}: {_(_MEANING[each])}",
        key=draft.key("role"),
    )


def _new(people: People, context: PageContext, draft: Draft) -> None:
    st.text_input(_("The name to sign in with"), max_chars=64, key=draft.key("name"))
    _role(draft, PersonRole.VIEWER)
    change_dialog.buttons(draft, _("Add"), partial(_add, people, context, draft))


def _add(people: People, context: PageContext, draft: Draft) -> None:
    name, role = str(draft.value("name") or "").strip().lower(), PersonRole(draft.value("role"))
    said = f"{name}: {_(ROLES[role])}"
    _password(draft, name)
    change_dialog.store(draft, lambda: people.add(_admin(context), name, role), said=said)


def _password(draft: Draft, name: str) -> None:
    def reveal(_context: PageContext, draft: Draft) -> None:
        if draft.secret:
            st.html(markup.note(_(_SIGN_IN, name=name)))

    draft.reveal = reveal


def _one(people: People, context: PageContext, draft: Draft) -> None:
    name, admin = str(draft.about["row"].name), _admin(context)
    match draft.about.get("step", ""):
        case "role":
            st.html(markup.note(_(_ROLE_WARNING, name=name)))
            _role(draft, PersonRole(draft.about["row"].role))
            change_dialog.buttons(draft, _("Change the role"), partial(_set_role, people, context, draft, name))
        case "password":
            reset = partial(people.reset_password, admin, name)
            _confirm(draft, _(_RESET, name=name), _("New password"), reset)
        case "sign-out":
            sign_out = partial(people.sign_out, admin, name)
            _confirm(draft, _(_SIGN_OUT, name=name), _("Sign out everywhere"), sign_out)
        case "remove":
            _confirm(draft, _(_REMOVE, name=name), _("Remove"), partial(people.remove, admin, name))
        case _:
            _facts(people, context, draft, draft.about["row"])


def _facts(people: People, context: PageContext, draft: Draft, row: Row[Any]) -> None:
    now = context.now()
    role = PersonRole(row.role)
    st.html(markup.facts([(_("Role"), f"{_(ROLES[role])}: {_(_MEANING[role])}")]))
    st.html(markup.heading(_("Signed in"), 3))
    sessions = people.sessions_of(context.org, row.name)
    lines = [f"{text.ago(each.seen_at, now)} · {each.address} · {each.browser}" for each in sessions]
    st.html(markup.lines(lines or [_(_NO_SESSION)]))
    if row.name == context.user:
        st.html(markup.banner(_(_SELF)))
    else:
        ours = (("role", _("Change role …")), ("password", _("New password …")))
        steps = (*(() if row.provided else ours), ("sign-out", _("Sign out …")), ("remove", _("Remove …")))
        if row.provided:
            st.html(markup.note(_(_PROVIDED)))
        with st.container(horizontal=True):
            for step, label in steps:
                st.button(label, key=draft.key(step), on_click=partial(draft.about.update, step=step))
    change_dialog.buttons(draft)


def _confirm(draft: Draft, warning: str, label: str, change: Callable[[], str | None]) -> None:
    name = str(draft.about["row"].name)
    _password(draft, name)
    st.html(markup.banner(warning))
    change_dialog.buttons(draft, label, partial(change_dialog.store, draft, change, said=name))


def _set_role(people: People, context: PageContext, draft: Draft, name: str) -> None:
    role = PersonRole(draft.value("role"))
    change = partial(people.set_role, _admin(context), name, role)
    change_dialog.store(draft, change, said=f"{name}: {_(ROLES[role])}")
