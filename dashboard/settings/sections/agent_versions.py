"""Versions of the agents, and their update to the version of the server's bundle.

Invariant: what is sent is what was confirmed: the machines, the version and the hash are fixed before the confirmation.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st

from dashboard.changes import order_sending
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good, system_status
from dashboard.page.dialog_steps import CONFIRMATION, DialogState
from dashboard.page.page import PageContext
from dashboard.settings.section import SectionRow, SettingsSection, draw_table
from dashboard.widgets import cells, markup
from runtime.bundle import builder
from schemas.actions.action_catalogue import make_target
from schemas.actions.action_plan import default_rollout
from schemas.database.queries import choices
from schemas.database.queries.machines import Filters, matching_names
from schemas.database.queries.targets import list_configurations
from schemas.fleet.release import is_older, is_release

SECTION = SettingsSection(title=marked("Agent versions"), code="versions", order=6)

UPDATE: Final = "update"
_LIFETIME_SECONDS: Final = 86_400
_COLUMNS: Final[cells.Heads] = (
    ("name", marked("Version")),
    ("machine", marked("Machines")),
    ("what", marked("State")),
)
_INTRO: Final = marked("The server offers version {version}. Select an older version to update its machines.")
_NO_BUNDLE: Final = marked("The server has no bundle yet: run dashfleet bundle, and reload this page.")
_NONE: Final = marked("The version of a machine's agent appears here when it has connected.")
_SKIPPED: Final = marked("These machines do not allow the action update and stay unchanged: {machines}")
_MEANING: Final = marked(
    "Each machine fetches the new version over its connection and tries it. It keeps it once a sample has arrived, and "
    "otherwise returns to its old version by itself."
)


@dataclass(frozen=True, slots=True)
class BundleOffer:
    """The version that the server offers, with the hash that orders name."""

    version: str
    sha256: str

    @classmethod
    def read(cls, directory: Path | None) -> "BundleOffer | None":
        """Return what the bundle in a directory offers; None if there is none."""
        manifest = None if directory is None else builder.read(directory)
        if manifest is None:
            return None
        return cls(manifest.version, hashlib.sha256(manifest.encode()).hexdigest())

    def supersedes(self, version: str) -> bool:
        """Return True if machines of this version are outdated."""
        return is_release(version) and is_older(version, self.version)


def show(context: PageContext) -> None:
    """Draw the section."""
    query = partial(choices.count_versions, context.engine, context.org)
    found = last_good.read(context, "settings.versions", query)
    if found is None:
        return
    offer = BundleOffer.read(context.broker.bundle)
    st.html(markup.note(_(_NO_BUNDLE) if offer is None else _(_INTRO, version=offer.version)))
    if found:
        draw_table(SECTION, _COLUMNS, [_row(version, machines, offer) for version, machines in found])
    else:
        st.html(markup.empty(_("No versions yet"), _(_NONE)))


def _row(version: str, machines: int, offer: BundleOffer | None) -> SectionRow:
    state = _state(version, offer)
    shown = (cells.name(version), cells.plain(text.count(machines)), cells.plain(state))
    return SectionRow(version, shown, partial(_form, version, machines, offer))


def _state(version: str, offer: BundleOffer | None) -> str:
    if offer is None:
        return text.UNKNOWN
    if version == offer.version:
        return _("Current")
    return _("Outdated") if offer.supersedes(version) else _("Not offered by this server")


def _form(version: str, machines: int, offer: BundleOffer | None, context: PageContext, state: DialogState) -> None:
    if state.step == CONFIRMATION:
        _confirmation(context, state)
        return
    st.html(markup.facts([(_("Machines"), text.count(machines)), (_("State"), _state(version, offer))]))
    if offer is None or not offer.supersedes(version) or not context.may_act or system_status.obstacle(context):
        dialog_steps.buttons(state)
        return
    st.html(markup.note(_(_MEANING)))
    dialog_steps.buttons(state, _("Continue"), partial(_continue, version, offer, context, state))


def _continue(version: str, offer: BundleOffer, context: PageContext, state: DialogState) -> None:
    """Fix the machines, the version and its hash, before the confirmation."""
    names = matching_names(context.engine, context.org, Filters(versions=(version,)))
    rows = list_configurations(context.engine, context.org, names)
    targets = [make_target(row.name, hostname=None, presence="", actions=row.its_actions, keys=None) for row in rows]
    chosen = [target.name for target in targets if UPDATE in target.actions]
    if not chosen:
        state.refuse(_("No machine of this version allows the action update."))
        return
    skipped = [target.name for target in targets if UPDATE not in target.actions]
    state.about = {"from": version, "offer": offer, "machines": chosen, "skipped": skipped}
    state.go(CONFIRMATION)


def _confirmation(context: PageContext, state: DialogState) -> None:
    chosen, skipped, offer = state.about["machines"], state.about["skipped"], state.about["offer"]
    st.html(markup.facts([(_("Version"), f"{state.about['from']} → {offer.version}")]))
    st.html(markup.names(chosen, _("Machines")))
    if skipped:
        st.html(markup.note(_(_SKIPPED, machines=text.listed(skipped))))
    if (pace := default_rollout(UPDATE, len(chosen))).canary:
        st.html(
            markup.note(_("{canary} machines first, then {rate} per minute.", canary=pace.canary, rate=pace.per_minute))
        )
    update = _("Update {machines}", machines=text.machines(len(chosen)))
    dialog_steps.buttons(state, update, partial(_send, context, state), back=True)


def _send(context: PageContext, state: DialogState) -> None:
    chosen, offer = state.about["machines"], state.about["offer"]
    arguments = {machine: {"version": offer.version, "sha256": offer.sha256} for machine in chosen}
    pace = default_rollout(UPDATE, len(chosen))
    order_sending.send(context, state, arguments, UPDATE, lifetime_seconds=_LIFETIME_SECONDS, rollout=pace)
