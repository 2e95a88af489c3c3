"""The keys whose orders machines obey: another one, made here or elsewhere, and the end of one."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.changes import change_dialog
from dashboard.changes.change_dialog import Draft
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.i18n.text import Word
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.settings.section import SettingsSection, draw_table
from dashboard.widgets import cells, markup
from schemas.contract.signing import KeyChange, listed, new_key, public_key
from schemas.database.queries import settings

SECTION = SettingsSection(title=marked("Keys"), code="keys", order=4)

LIFETIMES: Final = (0, 30 * 86_400, 90 * 86_400, 365 * 86_400)
_HERE, _ELSEWHERE = "here", "elsewhere"
_PLACES: Final = {
    _HERE: marked("Here, and it is shown once"),
    _ELSEWHERE: marked("Elsewhere: I have its public key"),
}
_COLUMNS: Final[cells.Heads] = (
    ("name", marked("Key")),
    ("state", marked("State")),
    ("what", marked("Name")),
    ("when", marked("Since")),
    ("until", marked("Good until")),
)
_WHY: Final = marked(
    "Machines obey orders that one of these keys has signed. A change is signed with the key of this dashboard, "
    "and each machine checks it."
)
_NONE_TITLE: Final = marked("No key yet")
_NONE: Final = marked("The first is made on the server: dashfleet key create --org {org}")
_OURS: Final = marked("this dashboard signs with it")
_REVOKE: Final = marked("Machines never obey {key} again. Whoever signs with it needs another key first.")
_OWN: Final = marked(
    "This dashboard signs with this key. On its server, give it another one before this one is revoked."
)
_BAD_PUBLIC: Final = marked("A public key is 64 hexadecimal digits.")
_KEEP: Final = marked(
    "Put it into a file with mode 0600. Whoever has it may act on every machine of this organisation."
)


def show(context: PageContext) -> None:
    """Draw the section."""
    changes = refresh.read(context, "settings.keys", partial(settings.key_changes, context.engine, context.org))
    if changes is None:
        return
    found = listed(changes, context.org, context.now())
    st.html(markup.note(_(_WHY)))
    st.button(
        _("Add a key …"),
        type="primary",
        key="settings.keys.new",
        disabled=bool(refresh.obstacle(context)),
        on_click=partial(change_dialog.ask, _("Add a key"), _new),
    )
    if not found:
        st.html(markup.empty(_(_NONE_TITLE), _(_NONE, org=context.org)))
        return
    own = _own(context)
    ask = {key["id"]: partial(change_dialog.ask, key["id"], _one, key=key, own=own) for key in found}
    draw_table(SECTION, _COLUMNS, [_row(context, key, own) for key in found], ask)


def _own(context: PageContext) -> str:
    """The id of the key that signs here, if there is one."""
    try:
        return context.publisher.key(context.org) if context.publisher else ""
    except NotAllowedError:
        return ""


def state(key: dict[str, Any]) -> Word:
    """Whether machines obey a key."""
    if key["revoked_at"] is not None:
        return Word(_("Revoked"), "muted")
    return Word(_("Good"), "good") if key["in_force"] else Word(_("Expired"), "muted")


def _row(context: PageContext, key: dict[str, Any], own: str) -> dict[str, Any]:
    return cells.row(
        key["id"],
        f"/settings?section={SECTION.code}",
        cells.name(key["id"], _(_OURS) if key["id"] == own else ""),
        cells.chip(state(key)),
        cells.plain(key["name"] or text.UNKNOWN),
        cells.plain(_moment(context, key["created_at"])),
        cells.plain(_moment(context, key["expires_at"])),
    )


def _moment(context: PageContext, at: int | None) -> str:
    return text.UNKNOWN if at is None else text.moment(at, context.now(), context.zone)


def _new(context: PageContext, draft: Draft) -> None:
    st.text_input(_("What to call it, such as whose it is"), max_chars=64, key=draft.key("name"))
    place = st.radio(
        _("Where it is made"), list(_PLACES), format_func=lambda code: _(_PLACES[code]), key=draft.key("place")
    )
    if place == _ELSEWHERE:
        st.text_input(_("Its public key"), max_chars=64, key=draft.key("public"))
    st.selectbox(
        _("For how long it is good"),
        LIFETIMES,
        format_func=lambda seconds: text.period(seconds) if seconds else _("until it is revoked"),
        key=draft.key("lifetime"),
    )
    change_dialog.buttons(draft, _("Add the key"), partial(_add, context, draft))


def _add(context: PageContext, draft: Draft) -> None:
    """A private key that is made here is in the draft alone; its public half is what is signed and sent."""
    seed = new_key() if draft.value("place") == _HERE else ""
    lifetime = int(draft.value("lifetime") or 0)
    now = context.now()

    def change() -> KeyChange:
        public = public_key(seed) if seed else str(draft.value("public") or "").strip().lower()
        until = now + 1000 * lifetime if lifetime else None
        name = str(draft.value("name") or "").strip()
        return KeyChange(change="add", org=context.org, public_key=public, name=name, at=now, expires_at=until)

    draft.reveal = _keep
    _ask(context, draft, change, secret=seed)


def _keep(_context: PageContext, _draft: Draft) -> None:
    st.html(markup.note(_(_KEEP)))


def _one(context: PageContext, draft: Draft) -> None:
    key: dict[str, Any] = draft.about["key"]
    st.html(
        markup.facts(
            [
                (_("State"), state(key).label),
                (_("Name"), key["name"] or text.UNKNOWN),
                (_("Public key"), key["public_key"]),
                (_("Since"), _moment(context, key["created_at"])),
                (_("Good until"), _moment(context, key["expires_at"])),
            ]
        )
    )
    if key["id"] == draft.about["own"]:
        st.html(markup.note(_(_OWN)))
    if key["revoked_at"] is not None or key["id"] == draft.about["own"]:
        change_dialog.buttons(draft)
        return
    st.html(markup.banner(_(_REVOKE, key=key["id"])))
    change_dialog.buttons(draft, _("Revoke"), partial(_revoke, context, draft, key))


def _revoke(context: PageContext, draft: Draft, key: dict[str, Any]) -> None:
    draft.title = _("Revoke {name}", name=key["id"])

    def change() -> KeyChange:
        return KeyChange(change="revoke", org=context.org, public_key=key["public_key"], at=context.now())

    _ask(context, draft, change)


def _ask(context: PageContext, draft: Draft, change: Callable[[], KeyChange], *, secret: str = "") -> None:
    """Sign a change, and ask for it."""
    try:
        wanted = change()
    except ValueError:
        draft.problem = _(_BAD_PUBLIC)
        return
    if context.publisher is None:
        return
    try:
        signed = context.publisher.key_change(wanted, role=context.role)
    except NotAllowedError as error:
        draft.problem = str(error)
        return
    change_dialog.request(context, draft, signed, secret=secret)
