"""The section of the machine page with its lists: one at a time, the worst first. Nothing where there are no lists."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.facts import columns, controls, texts
from dashboard.i18n import text
from dashboard.i18n.language import _, ngettext
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.contract.facts import FACT_ITEMS_MAX
from schemas.database.facts.fact_queries import FactSummary, list_items, list_summaries

SHOWN_FIRST: Final = 10
_KIND: Final = "facts.kind"
_ALL: Final = "facts.all"
_TROUBLED: Final = ("critical", "fair")


def draw(context: PageContext, name: str, info: Mapping[str, Any] | None) -> None:
    """Draw the chosen list of a machine. `info`: its inventory, with the actions that it offers."""
    found = last_good.read_org(context, f"facts.{name}", list_summaries, name) or []
    found = [each for each in sorted(found, key=lambda each: texts.order(each.kind)) if each.total]
    if not found:
        return
    kinds = {each.kind: each for each in found}
    if st.session_state.get(_KIND) not in kinds:
        st.session_state[_KIND] = _worst(found)
    st.html(markup.heading(_("Devices and services")))
    kind = st.pills(
        _("List"),
        list(kinds),
        key=_KIND,
        required=True,
        format_func=lambda kind: label(kinds[kind]),
        label_visibility="collapsed",
    )
    _list(context, name, kinds[kind or _worst(found)], info)


def label(summary: FactSummary) -> str:
    """Return the title of a list with its number of items, and of those that need attention."""
    title = markup.plain(texts.title(summary.kind))
    troubled = sum(summary.numbers.get(health, 0) for health in _TROUBLED)
    count = text.count(summary.total)
    if troubled:
        count = _("{n} of {total}", n=text.count(troubled), total=count)
    return f"{title} ({count})"


def _worst(found: Sequence[FactSummary]) -> str:
    """Return the first kind with critical items, else with warnings, else the first."""
    for health in _TROUBLED:
        for each in found:
            if each.numbers.get(health):
                return each.kind
    return found[0].kind


def _list(context: PageContext, name: str, summary: FactSummary, info: Mapping[str, Any] | None) -> None:
    has_more = summary.total > SHOWN_FIRST
    shows_all = has_more and st.session_state.get(_ALL) == summary.kind
    limit = FACT_ITEMS_MAX if shows_all else SHOWN_FIRST
    items = last_good.read_org(context, f"facts.{name}.{summary.kind}", list_items, name, summary.kind, limit=limit)
    st.html(table(texts.title(summary.kind), items or [], context.now()))
    controls.draw(context, name, info, summary.kind, [item.key for item in items or []])
    with st.container(horizontal=True, vertical_alignment="center", key="facts_foot"):
        if has_more:
            shown = _("Show fewer") if shows_all else _("Show all {n}", n=text.count(summary.total))
            st.button(shown, type="tertiary", key="facts_more", on_click=_toggle, args=(summary.kind, shows_all))
        st.html(markup.note(_note(context, summary)), width="content")


def table(title: str, items: Sequence[Row[Any]], now: int) -> str:
    """Return the items as a table: state, since when, and their fields."""
    fields = [item.fields for item in items]
    names = columns.chosen(fields)
    others = [columns.others(names, each) for each in fields]
    has_others = any(others)
    heads = [_("Name"), _("Health"), _("Since"), *columns.heads(names, fields), *([_("More")] if has_others else [])]
    rows = [
        (
            item.key,
            texts.health(item.health),
            [text.ago(item.since_at, now), *columns.values(names, item.fields), *([more] if has_others else [])],
        )
        for item, more in zip(items, others, strict=True)
    ]
    return markup.listing(title, heads, rows)


def _note(context: PageContext, summary: FactSummary) -> str:
    read = _("Read {at}", at=context.moment(summary.known_at))
    if not summary.truncated:
        return read
    left_out = ngettext("{n} more was left out", "{n} more were left out", summary.truncated)
    return f"{read} · {left_out}"


def _toggle(kind: str, shows_all: bool) -> None:
    st.session_state[_ALL] = "" if shows_all else kind
