"""The preview of a rule in its dialog: machines that fulfil it now, and the alerts that it would have raised."""

from functools import partial
from typing import Final

import streamlit as st

from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import _, marked, ngettext
from dashboard.i18n.text import Word
from dashboard.page import last_good
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.contract.alert_rules import AlertRule
from schemas.database.rules.preview import Preview, preview_rule

_SHOWN: Final = 5
_NO_HISTORY: Final = marked("The history does not contain what this kind of rule evaluates.")
_PARTLY: Final = marked("Only a part of the machines or of the history was read.")
_UNREADABLE: Final = marked("The preview is not available: the database cannot be read now.")


def draw(context: PageContext, state: DialogState, rule: AlertRule) -> None:
    """Draw the preview, which is read once for each rule that is entered."""
    found: Preview | None = state.about.get("preview")
    if found is None:
        with st.spinner(_("Reading the last seven days …")):
            found = last_good.fresh(partial(preview_rule, context.engine, context.org, rule, now=context.now()))
        state.about["preview"] = found
    if found is None:
        st.html(markup.banner(_(_UNREADABLE)))
        return
    _now(found)
    _past(context, found)


def _now(found: Preview) -> None:
    selected = ngettext("Applies to {n} machine.", "Applies to {n} machines.", found.applying)
    if found.replaced:
        selected += " " + ngettext(
            "On {n} selected machine a more specific rule applies: {rules}.",
            "On {n} selected machines more specific rules apply: {rules}.",
            found.replaced,
            rules=text.listed(found.replaced_by),
        )
    count = len(found.now)
    now = ngettext("{n} machine fulfils the condition now.", "{n} machines fulfil the condition now.", count)
    st.html(markup.heading(_("Now"), 3) + markup.note(f"{selected} {now}"))
    shown = [f"{name} ({translated_details(value)})" if value else name for name, value in found.now[:_SHOWN]]
    if count > _SHOWN:
        shown.append(text.and_more(count - _SHOWN))
    if shown:
        st.html(markup.lines(shown))


def _past(context: PageContext, found: Preview) -> None:
    st.html(markup.heading(_("Last seven days"), 3))
    if not found.has_history:
        st.html(markup.note(_(_NO_HISTORY)))
        return
    count = len(found.alerts)
    st.html(markup.note(ngettext("It would have raised {n} alert.", "It would have raised {n} alerts.", count)))
    rows = []
    for each in found.alerts[:_SHOWN]:
        lasted = _("active") if each.ended_at is None else text.duration((each.ended_at - each.started_at) / 1000)
        detail = " · ".join(filter(None, (translated_details(each.detail), lasted)))
        rows.append((context.moment(each.started_at), Word(each.machine, "plain"), detail))
    if rows:
        st.html(markup.timeline(rows))
    if count > _SHOWN:
        st.html(markup.note(text.and_more(count - _SHOWN)))
    if not found.complete:
        st.html(markup.note(_(_PARTLY)))
