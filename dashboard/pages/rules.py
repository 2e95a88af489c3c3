"""Rules: the conditions that raise alerts. Admins change them, all users see them."""

from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.changes import pending_changes
from dashboard.i18n import text
from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good, refresh, system_status
from dashboard.page.page import Page, PageContext
from dashboard.rules import form, texts
from dashboard.widgets import cells, markup, table
from schemas.alerts.condition import resolve
from schemas.contract.org_config import Thresholds
from schemas.database.queries.settings import read_settings
from schemas.database.rules.rule_queries import ListedRule, list_rules

PAGE = Page(title=marked("Rules"), path="rules", icon=":material/rule:", order=50)

_COLUMNS: Final[cells.Heads] = (
    ("title", marked("Rule")),
    ("severity", marked("Severity")),
    ("condition", marked("Condition")),
    ("for", marked("Duration")),
    ("machines", marked("Machines")),
    ("active", marked("Active alerts")),
)
_INTRO: Final = marked(
    "A rule raises an alert on a machine when its condition has lasted. Of rules of one kind, metric and severity, "
    "those with the most specific selection of machines apply."
)
_NONE: Final = marked("Nothing raises alerts: add a rule.")


def show(context: PageContext) -> None:
    """Draw the page."""
    dialog_steps.open_requested(context)
    st.html(markup.heading(_(PAGE.title), 1))
    st.html(markup.note(_(_INTRO)))
    refresh.auto_refresh(partial(_list, context), seconds=context.refresh_seconds, key="rules")


def _list(context: PageContext) -> None:
    if dialog_steps.is_requested():
        st.rerun()
    if context.may_administer:
        why = system_status.obstacle(context, signed=False)
        st.button(_("New rule …"), type="primary", key="rules.new", disabled=bool(why), on_click=form.request_new)
    pending_changes.draw(context)
    found = last_good.read_org(context, "rules", list_rules)
    if found is None:
        return
    if not found:
        st.html(markup.empty(_("No rules"), _(_NONE)))
        return
    stored = last_good.read_org(context, "rules.settings", read_settings)
    thresholds = Thresholds() if stored is None else stored[0].thresholds
    rows = [_row(each, resolve(each.rule, thresholds).on) for each in found]
    opened = table.draw("rules_table", _(PAGE.title), cells.columns(_COLUMNS), rows, total=len(rows))
    for each in found:
        if each.rule.name == opened:
            form.request_rule(each.rule)
            st.rerun()


def _row(each: ListedRule, threshold: float) -> dict[str, Any]:
    rule = each.rule
    return cells.row(
        rule.name,
        f"/{PAGE.path}",
        cells.name(translated_details(rule.title), rule.name),
        cells.chip(texts.severity(rule)),
        cells.plain(texts.condition(rule, threshold)),
        cells.plain(texts.duration(rule)),
        cells.plain(texts.machines(rule)),
        cells.plain(text.count(each.open_alerts) if each.open_alerts else text.UNKNOWN),
    )
