"""The rules that apply to a machine, with the values that count, and why others do not apply."""

import streamlit as st

from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import _
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.rules import texts
from dashboard.widgets import markup
from schemas.database.rules.rule_queries import ApplyingRule, list_applying


def draw(context: PageContext, machine: str) -> None:
    """Draw the rules of a machine."""
    found = last_good.read_org(context, f"rules.{machine}", list_applying, machine)
    if found:
        st.html(markup.facts(explain(each) for each in found))
    elif found is not None:
        st.html(markup.note(_("No rule applies to this machine.")))


def explain(each: ApplyingRule) -> tuple[str, str]:
    """Return the title of a rule, and its condition with the reason why it applies or does not."""
    rule = each.condition.rule
    if each.replaced_by:
        names = ", ".join(each.replaced_by)
        return translated_details(rule.title), _("does not apply: {rules} is more specific", rules=names)
    why = (
        _("for {machines}", machines=rule.selector.described()) if rule.selector.described() else _("for all machines")
    )
    return translated_details(rule.title), f"{texts.applied(each.condition)} · {why}"
