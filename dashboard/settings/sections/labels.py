"""The labels that machines have, and another value, or none, for all machines with one of them at once.

Invariant: a machine's other labels, its interval and its collectors stay as they are; each gets an order of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.changes import change_dialog
from dashboard.changes.change_dialog import Draft
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.i18n.shared_words import retold
from dashboard.machine.configuration import CONFIGURE, Wish
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.settings.section import SettingsSection, draw_table
from dashboard.widgets import cells, markup
from schemas.contract.action_catalogue import target
from schemas.database.queries import choices, commands, settings
from schemas.database.queries.machines import Filters

SECTION = SettingsSection(title=marked("Labels"), code="labels", order=5)

LABEL_MAX: Final = 63
_LIFETIME_SECONDS: Final = 7 * 86_400
_COLUMNS: Final[cells.Heads] = (
    ("name", marked("Label")),
    ("what", marked("Value")),
    ("machine", marked("Machines")),
)
_WHY: Final = marked(
    "What machines say they are labelled with. One machine's labels are changed on its page; here that of all "
    "machines that have it."
)
_NONE_TITLE: Final = marked("No label yet")
_NONE: Final = marked("A machine's owner gives it labels in its settings, or you do on its page, under Configuration.")
_SAME: Final = marked("Write another value.")
_NOBODY: Final = marked("No machine with it may be configured from here.")
_SKIPPED: Final = marked("These do not let themselves be configured from here, and stay as they are: {machines}")
_AWAY: Final = marked("Machines that are away do it when they return, within {period}.")
_SENT: Final = marked("It is on its way to {machines}.")


def show(context: PageContext) -> None:
    """Draw the section."""
    found = refresh.read(context, "settings.labels", partial(choices.labels, context.engine, context.org))
    if found is None:
        return
    st.html(markup.note(_(_WHY)))
    if not found:
        st.html(markup.empty(_(_NONE_TITLE), _(_NONE)))
        return
    rows = [
        cells.row(label, f"/settings?section={SECTION.code}", *_cells(label, machines)) for label, machines in found
    ]
    ask = {
        label: partial(change_dialog.ask, _shown(label), _one, label=label, machines=machines)
        for label, machines in found
    }
    draw_table(SECTION, _COLUMNS, rows, ask)


def _cells(label: str, machines: int) -> tuple[dict[str, Any], ...]:
    name, _equals, value = label.partition("=")
    return cells.name(name), cells.plain(value), cells.plain(text.count(machines))


def _shown(label: str) -> str:
    name, _equals, value = label.partition("=")
    return f"{name}: {value}"


def _one(context: PageContext, draft: Draft) -> None:
    label, machines = draft.about["label"], draft.about["machines"]
    if draft.confirming:
        _confirmation(context, draft)
        return
    st.html(markup.note(text.machines(machines)))
    if not context.may_act or refresh.obstacle(context):
        change_dialog.buttons(draft)
        return
    st.text_input(
        _("Another value for all of them"), label.partition("=")[2], max_chars=LABEL_MAX, key=draft.key("value")
    )
    st.checkbox(_("Take this label from all of them instead"), key=draft.key("remove"))
    change_dialog.buttons(draft, _("Continue"), partial(_continue, context, draft))


def _continue(context: PageContext, draft: Draft) -> None:
    """Settle which machines, and with which labels each, before it is confirmed."""
    name, _equals, before = draft.about["label"].partition("=")
    after = None if draft.value("remove") else str(draft.value("value") or "").strip()
    if after == before:
        draft.problem = _(_SAME)
        return
    chosen = commands.matching_names(context.engine, context.org, Filters(labels=(draft.about["label"],)))
    rows = settings.labelled(context.engine, context.org, chosen)
    wishes = {row.name: relabelled(row, name, after) for row in rows if _may_configure(row)}
    if not wishes:
        draft.problem = _(_NOBODY)
        return
    draft.problem, draft.confirming = "", True
    draft.about |= {"after": after, "wishes": wishes, "skipped": [row.name for row in rows if row.name not in wishes]}


def _may_configure(row: Row[Any]) -> bool:
    known = target(row.name, hostname=None, presence="", actions=row.its_actions, keys=None)
    return CONFIGURE in known.actions


def relabelled(row: Row[Any], name: str, value: str | None) -> dict[str, Any]:
    """The whole configuration of a machine with another value of this label, or without it."""
    wish = Wish.of(row.desired)
    labels: Mapping[str, str] = wish.labels if wish.labels is not None else row.labels or {}
    others = {key: each for key, each in labels.items() if key != name}
    return replace(wish, labels=others if value is None else {**others, name: value}).arguments()


def _confirmation(context: PageContext, draft: Draft) -> None:
    label, after, wishes = draft.about["label"], draft.about["after"], draft.about["wishes"]
    becomes = _("none") if after is None else _shown(f"{label.partition('=')[0]}={after}")
    st.html(markup.facts([(_shown(label), f"→ {becomes}")]))
    st.html(markup.names(wishes, _("Machines")))
    if draft.about["skipped"]:
        st.html(markup.note(_(_SKIPPED, machines=text.listed(draft.about["skipped"]))))
    st.html(markup.note(_(_AWAY, period=text.period(_LIFETIME_SECONDS))))
    change = _("Change {machines}", machines=text.machines(len(wishes)))
    change_dialog.buttons(draft, change, partial(_send, context, draft), back=True)


def _send(context: PageContext, draft: Draft) -> None:
    if draft.said or context.publisher is None:
        return
    try:
        sent = context.publisher.act_each(
            context.org,
            draft.about["wishes"],
            CONFIGURE,
            role=context.role,
            actor=context.user,
            lifetime_seconds=_LIFETIME_SECONDS,
        )
    except NotAllowedError as error:
        draft.problem = retold(error)
        return
    draft.about["batch"], draft.reveal = sent.batch, _follow
    draft.said = _(_SENT, machines=text.machines(len(sent.orders)))


def _follow(context: PageContext, draft: Draft) -> None:
    st.page_link(context.pages["activity"], label=_("Activity"), query_params={"batch": draft.about["batch"]})
