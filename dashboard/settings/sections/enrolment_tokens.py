"""Enrolment tokens: their remaining uses, and a new one (see `dashboard.enrolment`)."""

from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.enrolment import add_machine
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.i18n.text import Word
from dashboard.page import dialog_steps, last_good, system_status
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.settings import credential_section
from dashboard.settings.section import SectionRow, SettingsSection
from dashboard.widgets import cells, markup
from schemas.contract.administration import RevokeToken
from schemas.database.queries import settings

SECTION = SettingsSection(title=marked("Enrolment tokens"), code="tokens", order=2)

_COLUMNS: Final = (
    ("name", marked("Token")),
    ("state", marked("State")),
    ("used", marked("Machines")),
    ("until", marked("Valid until")),
    ("who", marked("Created by")),
)
_INTRO: Final = marked("An enrolment token lets new machines join; each creates its own secret.")
_REVOKE: Final = marked("No more machines can enrol with {name}. The machines that have enrolled with it stay.")


def show(context: PageContext) -> None:
    """Draw the section."""
    found = last_good.read(context, "settings.tokens", partial(settings.list_tokens, context.engine, context.org))
    credential_section.draw(
        SECTION,
        intro=_INTRO,
        add=(marked("New token …"), add_machine.form),
        columns=_COLUMNS,
        rows=None if found is None else [_row(context, row) for row in found],
        empty=(_("No tokens yet"), _("Create one, and run the command that comes with it on the machine.")),
        blocked=bool(system_status.obstacle(context, signed=False)),
    )


def _state(row: Row[Any], now: int) -> Word:
    if row.revoked_at is None and row.used >= row.uses:
        return Word(_("Used up"), "muted")
    return credential_section.state(revoked=row.revoked_at is not None, expired=now >= row.expires_at)


def _row(context: PageContext, row: Row[Any]) -> SectionRow:
    shown = (
        cells.name(row.name),
        cells.chip(_state(row, context.now())),
        cells.plain(_used(row)),
        cells.plain(context.moment(row.expires_at)),
        cells.plain(row.created_by or text.UNKNOWN),
    )
    return SectionRow(row.name, shown, partial(_details, row))


def _used(row: Row[Any]) -> str:
    return _("{used} of {uses}", used=text.count(row.used), uses=text.count(row.uses))


def _details(row: Row[Any], context: PageContext, state: DialogState) -> None:
    facts = [
        (_("State"), _state(row, context.now()).label),
        (_("Machines"), _used(row)),
        (_("Valid until"), context.moment(row.expires_at)),
        (_("Created"), context.moment(row.created_at)),
        (_("Created by"), row.created_by or text.UNKNOWN),
    ]
    st.html(markup.facts(facts))
    if row.revoked_at is not None:
        dialog_steps.buttons(state)
        return
    used = ngettext("{n} machine has enrolled with it.", "{n} machines have enrolled with it.", row.used)
    st.html(markup.note(used))
    revoke = partial(RevokeToken, name=row.name)
    credential_section.revoke_step(context, state, row.name, _(_REVOKE, name=row.name), revoke)
