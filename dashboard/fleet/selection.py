"""The machines ticked on the fleet page, and the bar that runs an action on them. They are machines, not rows.

Invariants:
- The permission to act is checked again in every handler, whatever the page showed.
- An action is about the machines ticked at the click: a tick and the click after it may come in one request, and
  Streamlit calls the button's handler first.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.actions import dialog
from dashboard.fleet import compared
from dashboard.i18n import text
from dashboard.i18n.language import _, ngettext
from dashboard.page import last_good, system_status
from dashboard.page.page import PageContext
from dashboard.widgets import markup, table
from dashboard.widgets.ticked_rows import TickedRows
from schemas.database.queries import machines
from schemas.database.queries.machines import Filters

_COMPARE: Final = "compare"
_SELECTION: Final = "fleet.selection"


def shown(names: Sequence[str]) -> dict[str, Any]:
    """Return what the table needs to show the ticks of these machines."""
    chosen = _selection()
    return {"revision": chosen.revision, "selected": [name for name in names if name in chosen.names]}


def take_ticks(context: PageContext, key: str) -> None:
    """Apply the ticks of the table with this key to the selection."""
    if context.may_act:
        st.session_state[_SELECTION] = _selection().ticked(table.ticks(key))


def bar(context: PageContext, key: str, filters: Filters, total: int) -> None:
    """Draw the selection bar of the table with this key, of `total` matching machines, if any is ticked."""
    chosen = _selection().names
    if not chosen or not context.may_act:
        return
    why = system_status.obstacle(context)
    with st.container(horizontal=True, vertical_alignment="center", key="selection"):
        st.html(markup.selected(ngettext("{n} selected", "{n} selected", len(chosen)), text.listed(chosen), why))
        st.space("stretch")
        if len(chosen) < total:
            wanted = min(total, machines.SELECTION_MAX)
            st.button(
                ngettext("Select the {n} that matches", "Select all {n} that match", wanted),
                on_click=partial(_select_all, context, filters),
                type="tertiary",
            )
        compare = compared.is_comparable(chosen) and _COMPARE in context.pages
        if compare and st.button(_("Compare"), key="fleet.compare"):
            st.switch_page(context.pages[_COMPARE], query_params=compared.address(_selection().names))
        st.button(_("Clear"), on_click=_select_none)
        st.button(_("Run action …"), type="primary", on_click=partial(_act, context, key), disabled=bool(why))


def _selection() -> TickedRows:
    chosen: TickedRows = st.session_state.setdefault(_SELECTION, TickedRows())
    return chosen


def _select_all(context: PageContext, filters: Filters) -> None:
    read = partial(machines.matching_names, context.engine, context.org, filters)
    names = last_good.fresh(read) if context.may_act else None
    if names is not None:
        st.session_state[_SELECTION] = _selection().set(names)


def _select_none() -> None:
    st.session_state[_SELECTION] = _selection().set(())


def _act(context: PageContext, key: str) -> None:
    take_ticks(context, key)
    if context.may_act:
        dialog.request(context, _selection().names)
