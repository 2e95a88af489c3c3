"""Signing keys: machines execute only orders that one of them has signed.

Invariant: a private key that is generated here is in the dialog's state only; its public half is signed and published.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import streamlit as st
from pydantic import ValidationError

from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.i18n.text import Word
from dashboard.page import dialog_steps, last_good, system_status
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.settings import credential_section
from dashboard.settings.section import SectionRow, SettingsSection
from dashboard.widgets import cells, markup
from schemas.contract.administration import ChangeKeys
from schemas.contract.signing import KeyChange, describe_keys, new_key, public_key
from schemas.database.queries import settings

SECTION = SettingsSection(title=marked("Signing keys"), code="keys", order=4)

LIFETIMES: Final = (0, 30 * 86_400, 90 * 86_400, 365 * 86_400)
_HERE, _ELSEWHERE = "here", "elsewhere"
_PLACES: Final = {
    _HERE: marked("Here: it is shown once"),
    _ELSEWHERE: marked("Elsewhere: I have its public key"),
}
_COLUMNS: Final[cells.Heads] = (
    ("name", marked("Key")),
    ("state", marked("State")),
    ("what", marked("Name")),
    ("when", marked("Created")),
    ("until", marked("Valid until")),
)
_INTRO: Final = marked(
    "Machines execute orders that are signed by one of these keys. A change of the keys is signed with the key of this "
    "dashboard, and each machine verifies it."
)
_REVOKE: Final = marked("Machines no longer execute orders signed by {key}. Its users need another key first.")
_OWN: Final = marked("This dashboard signs with this key. Give its server another key before you revoke this one.")
_KEEP: Final = marked(
    "Store it in a file with mode 0600. It allows its holder to run actions on every machine of this organisation."
)


def show(context: PageContext) -> None:
    """Draw the section."""
    changes = last_good.read(context, "settings.keys", partial(settings.list_key_changes, context.engine, context.org))
    if changes is None:
        return
    own = _own(context)
    found = describe_keys(changes, context.org, context.now())
    credential_section.draw(
        SECTION,
        intro=_INTRO,
        add=(marked("Add key …"), _new),
        columns=_COLUMNS,
        rows=[_row(context, key, own=key["id"] == own) for key in found],
        empty=(
            _("No keys yet"),
            _("Create the first key on the server: dashfleet key create --org {org}", org=context.org),
        ),
        blocked=bool(system_status.obstacle(context)),
    )


def _own(context: PageContext) -> str:
    """Return the id of the key that this dashboard signs with, "" if it has none."""
    try:
        return context.publisher.key(context.org) if context.publisher else ""
    except NotAllowedError:
        return ""


def _state(key: dict[str, Any]) -> Word:
    return credential_section.state(revoked=key["revoked_at"] is not None, expired=not key["in_force"])


def _row(context: PageContext, key: dict[str, Any], *, own: bool) -> SectionRow:
    shown = (
        cells.name(key["id"], _("used by this dashboard") if own else ""),
        cells.chip(_state(key)),
        cells.plain(key["name"] or text.UNKNOWN),
        cells.plain(context.moment(key["created_at"])),
        cells.plain(context.moment(key["expires_at"])),
    )
    return SectionRow(key["id"], shown, partial(_details, key, own))


def _new(context: PageContext, state: DialogState) -> None:
    st.text_input(_("Name, such as its owner"), max_chars=64, key=state.key("name"))
    places = list(_PLACES)
    place = st.radio(_("Generated"), places, format_func=lambda code: _(_PLACES[code]), key=state.key("place"))
    if place == _ELSEWHERE:
        st.text_input(_("Public key"), max_chars=64, key=state.key("public"))
        dialog_steps.fault(state, "public")
    credential_section.lifetime_input(state, LIFETIMES, endless=_("until it is revoked"))
    dialog_steps.buttons(state, _("Add key"), partial(_add, context, state))


def _add(context: PageContext, state: DialogState) -> None:
    seed = new_key() if state.value("place") == _HERE else ""

    def make() -> ChangeKeys:
        public = public_key(seed) if seed else str(state.value("public") or "").strip().lower()
        lifetime, now = int(state.value("lifetime") or 0), context.now()
        until = now + 1000 * lifetime if lifetime else None
        name = str(state.value("name") or "").strip()
        return _signed(
            context,
            KeyChange(change="add", org=context.org, public_key=public, name=name, at=now, expires_at=until),
        )

    state.reveal = _keep
    change_dialog.publish(context, state, make, secret=seed, faults=_faults)


def _faults(_error: ValidationError) -> Mapping[str, str]:
    return {"public": _("A public key is 64 hexadecimal digits.")}


def _keep(_context: PageContext, _state: DialogState) -> None:
    st.html(markup.note(_(_KEEP)))


def _details(key: dict[str, Any], own: bool, context: PageContext, state: DialogState) -> None:
    facts = [
        (_("State"), _state(key).label),
        (_("Name"), key["name"] or text.UNKNOWN),
        (_("Public key"), key["public_key"]),
        (_("Created"), context.moment(key["created_at"])),
        (_("Valid until"), context.moment(key["expires_at"])),
    ]
    st.html(markup.facts(facts))
    if own:
        st.html(markup.note(_(_OWN)))
    if own or key["revoked_at"] is not None:
        dialog_steps.buttons(state)
        return

    def make() -> ChangeKeys:
        change = KeyChange(change="revoke", org=context.org, public_key=key["public_key"], at=context.now())
        return _signed(context, change)

    credential_section.revoke_step(context, state, key["id"], _(_REVOKE, key=key["id"]), make)


def _signed(context: PageContext, change: KeyChange) -> ChangeKeys:
    """Sign a change with the key of this dashboard. Raises NotAllowedError."""
    if context.publisher is None:
        raise NotAllowedError(_("This dashboard has no connection to the broker."))
    return context.publisher.key_change(change, role=context.role)
