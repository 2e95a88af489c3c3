"""Credentials of third parties: programs that read the topics or act. Letting one in, another secret, and its end."""

from functools import partial
from typing import Any, Final

import streamlit as st
from pydantic import ValidationError
from sqlalchemy import Row

from broker.access.credentials import hash_secret, new_secret
from dashboard.changes import change_dialog
from dashboard.changes.change_dialog import Draft
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.i18n.text import Word
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.settings.section import SettingsSection, draw_table
from dashboard.widgets import cells, markup
from schemas.contract.administration import AddPrincipal, RevokePrincipal, RotatePrincipal
from schemas.database.queries import settings

SECTION = SettingsSection(title=marked("Third parties"), code="programs", order=3)

ROLES: Final = {
    "reader": marked("Reader: sees what machines publish"),
    "operator": marked("Operator: also asks machines to act, with a key of its own"),
}
OVERLAPS: Final = (0, 3600, 86_400, 7 * 86_400)
_COLUMNS: Final = (
    ("name", marked("Name")),
    ("state", marked("State")),
    ("role", marked("Role")),
    ("user", marked("User name")),
    ("when", marked("Since")),
)
_WHY: Final = marked("Programs that subscribe to the topics of this organisation, each with a credential of its own.")
_NONE_TITLE: Final = marked("No third party has a credential")
_NONE: Final = marked("Let a program in, and give it the secret that is shown then.")
_BAD_NAME: Final = marked("A name is 1 to 63 lower-case letters, digits and inner hyphens.")
_REVOKE: Final = marked("{name} connects no more, and its connection ends within seconds.")
_CONNECT: Final = marked("It connects with this as its user name and as its client id:")
_ROTATE: Final = marked("{name} gets another secret. The one before stays good for a while, so that it can be changed.")
_REVIVE: Final = marked("{name} was revoked. It may connect again, with a new secret.")


def show(context: PageContext) -> None:
    """Draw the section."""
    found = refresh.read(context, "settings.programs", partial(settings.programs, context.engine, context.org))
    st.html(markup.note(_(_WHY)))
    st.button(
        _("Let a program in …"),
        type="primary",
        key="settings.programs.new",
        disabled=bool(refresh.obstacle(context, signed=False)),
        on_click=partial(change_dialog.ask, _("Let a program in"), _new),
    )
    if not found:
        if found is not None:
            st.html(markup.empty(_(_NONE_TITLE), _(_NONE)))
        return
    rows = [_row(context, row) for row in found]
    ask = {row.name: partial(change_dialog.ask, row.name, _one, row=row) for row in found}
    draw_table(SECTION, _COLUMNS, rows, ask)


def state(row: Row[Any]) -> Word:
    """Whether a program may connect."""
    return Word(_("Valid"), "good") if row.revoked_at is None else Word(_("Revoked"), "muted")


def _row(context: PageContext, row: Row[Any]) -> dict[str, Any]:
    return cells.row(
        row.name,
        f"/settings?section={SECTION.code}",
        cells.name(row.name),
        cells.chip(state(row)),
        cells.plain(_(ROLES[row.role]).partition(":")[0]),
        cells.plain(row.username),
        cells.plain(text.moment(row.created_at, context.now(), context.zone)),
    )


def _new(context: PageContext, draft: Draft) -> None:
    st.text_input(_("Its name"), max_chars=63, key=draft.key("name"), placeholder="grafana")
    st.radio(_("What it may do"), list(ROLES), format_func=lambda role: _(ROLES[role]), key=draft.key("role"))
    change_dialog.buttons(draft, _("Let it in"), partial(_add, context, draft))


def _add(context: PageContext, draft: Draft) -> None:
    """The secret is made here, and only its record travels."""
    secret = new_secret()
    known: Row[Any] | None = draft.about.get("row")
    name = str(draft.value("name") or "").strip() if known is None else known.name
    role = draft.value("role") if known is None else known.role
    try:
        change = AddPrincipal(name=name, role=role, secret_hash=hash_secret(secret))
    except ValidationError:
        draft.problem = _(_BAD_NAME)
        return
    draft.title, draft.reveal = _("Let {name} in", name=name), _connect
    draft.about["username"] = f"{context.org}._{name}"
    change_dialog.request(context, draft, change, secret=secret)


def _connect(context: PageContext, draft: Draft) -> None:
    st.html(markup.note(_(_CONNECT)))
    st.code(draft.about["username"], language=None)
    if context.entrance.is_known:
        st.html(markup.note(_("The broker: {server}", server=context.entrance.server)))


def _one(context: PageContext, draft: Draft) -> None:
    row: Row[Any] = draft.about["row"]
    step = draft.about.get("step", "")
    if step == "revoke":
        st.html(markup.banner(_(_REVOKE, name=row.name)))
        change_dialog.buttons(draft, _("Revoke"), partial(_revoke, context, draft, row.name))
    elif step == "rotate":
        _rotate_form(context, draft, row)
    else:
        _facts(context, draft, row)


def _facts(context: PageContext, draft: Draft, row: Row[Any]) -> None:
    now = context.now()
    facts = [
        (_("State"), state(row).label),
        (_("Role"), _(ROLES[row.role])),
        (_("User name"), row.username),
        (_("Since"), text.moment(row.created_at, now, context.zone)),
    ]
    if row.previous_until is not None and row.previous_until > now:
        facts.append((_("Secret before"), _("good until {at}", at=text.moment(row.previous_until, now, context.zone))))
    st.html(markup.facts(facts))
    if row.revoked_at is not None:
        st.html(markup.note(_(_REVIVE, name=row.name)))
        change_dialog.buttons(draft, _("Let it in again"), partial(_add, context, draft))
        return
    with st.container(horizontal=True):
        st.button(_("New secret …"), key=draft.key("rotate"), on_click=partial(_go, draft, "rotate"))
        st.button(_("Revoke …"), key=draft.key("revoke"), on_click=partial(_go, draft, "revoke"))
    change_dialog.buttons(draft)


def _go(draft: Draft, step: str) -> None:
    draft.about["step"] = step


def _rotate_form(context: PageContext, draft: Draft, row: Row[Any]) -> None:
    st.html(markup.note(_(_ROTATE, name=row.name)))
    st.selectbox(
        _("The secret before stays good"),
        OVERLAPS,
        index=2,
        format_func=lambda seconds: text.period(seconds) if seconds else _("not at all"),
        key=draft.key("overlap"),
    )
    change_dialog.buttons(draft, _("Make the secret"), partial(_rotate, context, draft, row))


def _rotate(context: PageContext, draft: Draft, row: Row[Any]) -> None:
    secret = new_secret()
    overlap = int(draft.value("overlap") or 0)
    change = RotatePrincipal(name=row.name, secret_hash=hash_secret(secret), overlap_seconds=overlap)
    draft.title, draft.reveal = _("New secret of {name}", name=row.name), _connect
    draft.about["username"] = row.username
    change_dialog.request(context, draft, change, secret=secret)


def _revoke(context: PageContext, draft: Draft, name: str) -> None:
    draft.title = _("Revoke {name}", name=name)
    change_dialog.request(context, draft, RevokePrincipal(name=name))
