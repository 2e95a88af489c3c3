"""The filters of the problems page: which are set, and the row of widgets that shows and changes them.

Invariants:
- The filters are in the session and in the address. A visitor who returns without a query finds them unchanged.
- Text from machines and rules is only ever an option of a select box, which draws it as text.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import _, marked
from dashboard.page import address, last_good
from dashboard.page.page import PageContext
from dashboard.page.shared_results import SharedResult
from dashboard.problems import rows, view
from dashboard.problems.incident_text import incident_title
from dashboard.widgets import search_box
from schemas.database.queries.problems import (
    ACTIVE,
    RESOLVED,
    SEVERITIES,
    STATES,
    ProblemChoices,
    ProblemFilter,
    list_problem_choices,
)

_FILTER: Final = "problems.filter"
_KEYS: Final = {name: f"problems.{name}" for name in ("state", "search", "machine", "rule", "severity")}
"""The keys of the widgets, by field of the filters."""

_STATES: Final = {ACTIVE: marked("Active"), RESOLVED: marked("Resolved")}
_SELECT_WIDTH: Final = 210
_CHOICES_SECONDS: Final = 30
_choices = SharedResult(list_problem_choices, seconds=_CHOICES_SECONDS)


def sync_from_address(context: PageContext) -> None:
    """Take the filters from the address if that is new."""
    query = address.read()
    before: ProblemFilter | None = st.session_state.get(_FILTER)
    known = before is not None and (query == view.address(before) or (context.arrived and not query))
    if before is None or not known:
        before = view.parse(query)
    set_filter(before)
    for name, key in _KEYS.items():
        if context.arrived or not known or key not in st.session_state:
            st.session_state[key] = _shown(name, before)


def current() -> ProblemFilter:
    """Return the current filters."""
    found: ProblemFilter = st.session_state.get(_FILTER, view.DEFAULT)
    return found


def set_filter(wanted: ProblemFilter) -> None:
    """Change the filters, and the address with them."""
    st.session_state[_FILTER] = wanted
    address.change(view.address(wanted))


def draw(context: PageContext) -> None:
    """Draw the row of widgets."""
    with st.container(horizontal=True, vertical_alignment="center", key="problem_filters"):
        st.segmented_control(
            _("State"),
            list(STATES),
            key=_KEYS["state"],
            required=True,
            format_func=lambda code: _(_STATES[code]),
            label_visibility="collapsed",
            on_change=partial(_apply, "state"),
        )
        search_box.draw(_KEYS["search"], _("Search problem, machine, rule"), partial(_apply, "search"))
        st.pills(
            _("Severity"),
            list(SEVERITIES),
            key=_KEYS["severity"],
            format_func=lambda code: rows.severity_word(code).label,
            label_visibility="collapsed",
            on_change=partial(_apply, "severity"),
        )
        offered = last_good.read(context, "problems.choices", partial(_choices, context.engine, context.org))
        _selects(offered or ProblemChoices())


def _selects(offered: ProblemChoices) -> None:
    wanted = current()
    titles = {
        code: translated_details(title) if title else incident_title(code) for code, title in offered.rules.items()
    }
    for name, label, anything, options in (
        ("rule", _("Rule"), _("Any rule"), dict.fromkeys(("", *offered.rules, wanted.rule))),
        ("machine", _("Machine"), _("Any machine"), dict.fromkeys(("", *offered.machines, wanted.machine))),
    ):
        named = {"": anything, **(titles if name == "rule" else {})}
        st.selectbox(
            label,
            list(options),
            key=_KEYS[name],
            format_func=partial(_named, named),
            label_visibility="collapsed",
            width=_SELECT_WIDTH,
            on_change=partial(_apply, name),
        )


def clear() -> None:
    """Show all problems in the same state."""
    set_filter(ProblemFilter(state=current().state))
    st.session_state.update({key: _shown(name, current()) for name, key in _KEYS.items()})


def _named(named: Mapping[str, str], code: str) -> str:
    return named.get(code, code)


def _shown(name: str, wanted: ProblemFilter) -> str | None:
    """Return the value of a widget; no severity is None."""
    value = str(getattr(wanted, name))
    return None if name == "severity" and not value else value


def _apply(name: str) -> None:
    """Take the value of a widget into a field of the filters."""
    change: dict[str, Any] = {name: st.session_state[_KEYS[name]] or ""}
    set_filter(replace(current(), **change))
