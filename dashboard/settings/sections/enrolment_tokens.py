"""Tokens that machines enrol with: what is left of each, a new one with its install line, and their end."""

from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from broker.access.credentials import hash_secret, new_token
from dashboard.changes import change_dialog
from dashboard.changes.change_dialog import Draft
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext, pgettext
from dashboard.i18n.text import Word
from dashboard.page import refresh
from dashboard.page.install_command import CA_NAME
from dashboard.page.page import PageContext
from dashboard.settings.section import SettingsSection, draw_table
from dashboard.widgets import cells, markup
from schemas.contract.administration import TOKEN_USES_MAX, AddToken, RevokeToken
from schemas.database.queries import settings

SECTION = SettingsSection(title=marked("Tokens"), code="tokens", order=2)

LIFETIMES: Final = (900, 3600, 86_400, 7 * 86_400, 30 * 86_400)
_COLUMNS: Final = (
    ("name", marked("Token")),
    ("state", marked("State")),
    ("used", marked("Machines")),
    ("until", marked("Good until")),
    ("who", marked("Made by")),
)
_WHY: Final = marked(
    "A token gives machines their place: each makes a secret of its own with it. It does nothing else."
)
_NONE_TITLE: Final = marked("No token yet")
_NONE: Final = marked("Make one, and run the line that comes with it on the machine.")
_RUN: Final = marked("On the machine, in a clone of DashFleet, run this. It asks for the token:")
_LOCAL: Final = marked(
    "Put the broker's address for SERVER: the dashboard's setting machines_server says it here. If the broker "
    "listens on this machine only, dashfleet up --listen opens it."
)
_TRUST: Final = marked("It trusts this server by the certificate in {file}: bring it there first.")
_REVOKE: Final = marked("Nobody can enrol with {name} any more. The machines that it made stay.")


def show(context: PageContext) -> None:
    """Draw the section."""
    found = refresh.read(context, "settings.tokens", partial(settings.tokens, context.engine, context.org))
    st.html(markup.note(_(_WHY)))
    st.button(
        _("New token …"),
        type="primary",
        key="settings.tokens.new",
        disabled=bool(refresh.obstacle(context, signed=False)),
        on_click=partial(change_dialog.ask, _("New token"), _new),
    )
    if not found:
        if found is not None:
            st.html(markup.empty(_(_NONE_TITLE), _(_NONE)))
        return
    ask = {row.name: partial(change_dialog.ask, row.name, _one, row=row) for row in found}
    draw_table(SECTION, _COLUMNS, [_row(context, row) for row in found], ask)


def state(row: Row[Any], now: int) -> Word:
    """What a token is still good for."""
    if row.revoked_at is not None:
        return Word(_("Revoked"), "muted")
    if row.used >= row.uses:
        return Word(_("Used up"), "muted")
    if now >= row.expires_at:
        return Word(pgettext("token", "Expired"), "muted")
    return Word(_("Good"), "good")


def _row(context: PageContext, row: Row[Any]) -> dict[str, Any]:
    return cells.row(
        row.name,
        f"/settings?section={SECTION.code}",
        cells.name(row.name),
        cells.chip(state(row, context.now())),
        cells.plain(_used(row)),
        cells.plain(text.moment(row.expires_at, context.now(), context.zone)),
        cells.plain(row.created_by or text.UNKNOWN),
    )


def _used(row: Row[Any]) -> str:
    return _("{used} of {uses}", used=text.count(row.used), uses=text.count(row.uses))


def _new(context: PageContext, draft: Draft) -> None:
    st.number_input(_("How many machines it makes"), 1, TOKEN_USES_MAX, 1, key=draft.key("uses"))
    st.selectbox(
        _("For how long it is good"),
        LIFETIMES,
        index=1,
        format_func=text.period,
        key=draft.key("lifetime"),
    )
    change_dialog.buttons(draft, _("Make the token"), partial(_make, context, draft))


def _make(context: PageContext, draft: Draft) -> None:
    """The token is made here, and only the record of its secret travels."""
    token = new_token(context.org)
    change = AddToken(
        name=token.name,
        secret_hash=hash_secret(token.secret),
        uses=int(draft.value("uses") or 1),
        lifetime_seconds=int(draft.value("lifetime") or 3600),
    )
    draft.title, draft.reveal = _("New token {name}", name=token.name), _install
    change_dialog.request(context, draft, change, secret=str(token))


def _install(context: PageContext, draft: Draft) -> None:
    entrance = context.entrance
    st.html(markup.note(_(_RUN)))
    st.code(entrance.line, language=None, wrap_lines=True)
    if not entrance.is_known:
        st.html(markup.note(_(_LOCAL)))
    if CA_NAME not in entrance.line:
        return
    st.html(markup.note(_(_TRUST, file=CA_NAME)))
    if entrance.ca_file is not None and entrance.ca_file.exists():
        content = entrance.ca_file.read_bytes()
        st.download_button(CA_NAME, content, CA_NAME, on_click="ignore", key=draft.key("ca"))


def _one(context: PageContext, draft: Draft) -> None:
    row: Row[Any] = draft.about["row"]
    word, now = state(row, context.now()), context.now()
    facts = [
        (_("State"), word.label),
        (_("Machines"), _used(row)),
        (_("Good until"), text.moment(row.expires_at, now, context.zone)),
        (_("Made at"), text.moment(row.created_at, now, context.zone)),
        (_("Made by"), row.created_by or text.UNKNOWN),
    ]
    st.html(markup.facts(facts))
    if row.revoked_at is not None:
        change_dialog.buttons(draft)
        return
    st.html(markup.note(ngettext("It has made {n} machine.", "It has made {n} machines.", row.used)))
    st.html(markup.banner(_(_REVOKE, name=row.name)))
    change_dialog.buttons(draft, _("Revoke"), partial(_revoke, context, draft, row.name))


def _revoke(context: PageContext, draft: Draft, name: str) -> None:
    draft.title = _("Revoke {name}", name=name)
    change_dialog.request(context, draft, RevokeToken(name=name))
