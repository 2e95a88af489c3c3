"""Labels of machines, and a change of one of them on all machines that have it.

Invariant: a machine's other labels, its interval and its collectors stay as they are; each machine gets its own order.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.changes import order_sending
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.machine.configuration import CONFIGURE, MachineConfig
from dashboard.page import dialog_steps, last_good, system_status
from dashboard.page.dialog_steps import CONFIRMATION, DialogState
from dashboard.page.page import PageContext
from dashboard.settings.section import SectionRow, SettingsSection, draw_table
from dashboard.widgets import cells, markup
from schemas.actions.action_catalogue import make_target
from schemas.database.queries import choices
from schemas.database.queries.machines import Filters, matching_names
from schemas.database.queries.targets import list_configurations

SECTION = SettingsSection(title=marked("Labels"), code="labels", order=5)

LABEL_MAX: Final = 63
_LIFETIME_SECONDS: Final = 7 * 86_400
_COLUMNS: Final[cells.Heads] = (
    ("name", marked("Label")),
    ("what", marked("Value")),
    ("machine", marked("Machines")),
)
_INTRO: Final = marked(
    "Labels that machines report. Change the labels of one machine on its page, or here a label on all machines that "
    "have it."
)
_NONE: Final = marked("A machine gets labels in its agent's settings, or on its page, under Configuration.")
_SKIPPED: Final = marked("These machines do not allow remote configuration and stay unchanged: {machines}")


def show(context: PageContext) -> None:
    """Draw the section."""
    found = last_good.read(context, "settings.labels", partial(choices.count_labels, context.engine, context.org))
    if found is None:
        return
    st.html(markup.note(_(_INTRO)))
    if found:
        draw_table(SECTION, _COLUMNS, [_row(label, machines) for label, machines in found])
    else:
        st.html(markup.empty(_("No labels yet"), _(_NONE)))


def _row(label: str, machines: int) -> SectionRow:
    name, _equals, value = label.partition("=")
    shown = (cells.name(name), cells.plain(value), cells.plain(text.count(machines)))
    return SectionRow(label, shown, partial(_form, label, machines), _shown(label))


def _shown(label: str) -> str:
    name, _equals, value = label.partition("=")
    return f"{name}: {value}"


def _form(label: str, machines: int, context: PageContext, state: DialogState) -> None:
    if state.step == CONFIRMATION:
        _confirmation(label, context, state)
        return
    st.html(markup.note(text.machines(machines)))
    if not context.may_act or system_status.obstacle(context):
        dialog_steps.buttons(state)
        return
    value = label.partition("=")[2]
    st.text_input(_("New value on all of these machines"), value, max_chars=LABEL_MAX, key=state.key("value"))
    dialog_steps.fault(state, "value")
    st.checkbox(_("Remove the label from all of these machines instead"), key=state.key("remove"))
    dialog_steps.buttons(state, _("Continue"), partial(_continue, label, context, state))


def _continue(label: str, context: PageContext, state: DialogState) -> None:
    """Fix the machines and the new configuration of each, before the confirmation."""
    name, _equals, before = label.partition("=")
    after = None if state.value("remove") else str(state.value("value") or "").strip()
    if after == before:
        state.refuse(faults={"value": _("Enter a different value.")})
        return
    chosen = matching_names(context.engine, context.org, Filters(labels=(label,)))
    rows = list_configurations(context.engine, context.org, chosen)
    configs = {row.name: relabelled(row, name, after) for row in rows if _may_configure(row)}
    if not configs:
        state.refuse(_("No machine with this label allows remote configuration."))
        return
    state.about = {"after": after, "configs": configs, "skipped": [row.name for row in rows if row.name not in configs]}
    state.go(CONFIRMATION)


def _may_configure(row: Row[Any]) -> bool:
    known = make_target(row.name, hostname=None, presence="", actions=row.its_actions, keys=None)
    return CONFIGURE in known.actions


def relabelled(row: Row[Any], name: str, value: str | None) -> dict[str, Any]:
    """Return the whole configuration of a machine with a new value of this label, None to remove it."""
    config = MachineConfig.of(row.desired)
    labels: Mapping[str, str] = config.labels if config.labels is not None else row.labels or {}
    others = {key: each for key, each in labels.items() if key != name}
    return replace(config, labels=others if value is None else {**others, name: value}).arguments()


def _confirmation(label: str, context: PageContext, state: DialogState) -> None:
    after, configs, skipped = state.about["after"], state.about["configs"], state.about["skipped"]
    becomes = _("none") if after is None else _shown(f"{label.partition('=')[0]}={after}")
    st.html(markup.facts([(_shown(label), f"→ {becomes}")]))
    st.html(markup.names(configs, _("Machines")))
    if skipped:
        st.html(markup.note(_(_SKIPPED, machines=text.listed(skipped))))
    keep = text.period(_LIFETIME_SECONDS)
    st.html(markup.note(_("Offline machines get the change when they are back within {period}.", period=keep)))
    change = _("Change {machines}", machines=text.machines(len(configs)))
    dialog_steps.buttons(state, change, partial(_send, context, state), back=True)


def _send(context: PageContext, state: DialogState) -> None:
    order_sending.send(context, state, state.about["configs"], CONFIGURE, lifetime_seconds=_LIFETIME_SECONDS)
