"""The alerts ticked on the problems page, and the bar that acknowledges or silences them.

Invariants:
- Incidents can be ticked like alerts, and are left out of what is done.
- The permission is checked again where the change is published.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.i18n.language import _, ngettext
from dashboard.page import system_status
from dashboard.page.page import PageContext
from dashboard.problems import rows
from dashboard.silences import acknowledgement, form
from dashboard.widgets import markup, table
from dashboard.widgets.ticked_rows import TickedRows
from schemas.database.queries.problems import ListedProblem
from schemas.fleet.machine_name import machine_name

_SELECTION: Final = "problems.selection"


def shown(found: Sequence[ListedProblem]) -> dict[str, Any]:
    """Return what the table needs to show the ticks of these problems."""
    chosen = _selection()
    ids = [problem.id for problem in found]
    names = {problem.id: f"{rows.title(problem)}, {rows.concerned(problem)}" for problem in found}
    return {"revision": chosen.revision, "selected": [id_ for id_ in ids if id_ in chosen.names], "names": names}


def take_ticks(context: PageContext, key: str) -> None:
    """Apply the ticks of the table with this key."""
    if context.may_act:
        st.session_state[_SELECTION] = _selection().ticked(table.ticks(key))


def bar(context: PageContext, key: str, found: Sequence[ListedProblem]) -> None:
    """Draw the bar of the table with this key, which lists these problems, if an alert is ticked."""
    chosen = _alerts(found)
    if not chosen or not context.may_act:
        return
    why = system_status.obstacle(context, signed=False)
    names = ", ".join(dict.fromkeys(machine_name(problem.machine, problem.hostname) for problem in chosen))
    with st.container(horizontal=True, vertical_alignment="center", key="selection"):
        st.html(markup.selected(ngettext("{n} alert selected", "{n} alerts selected", len(chosen)), names, why))
        st.space("stretch")
        st.button(_("Clear"), on_click=_clear, key="problems.clear_selection")
        silence = partial(_silence, context, key, found)
        st.button(_("Silence …"), on_click=silence, disabled=bool(why), key="problems.silence")
        acknowledge = partial(_acknowledge, context, key, found)
        st.button(
            _("Acknowledge …"), type="primary", on_click=acknowledge, disabled=bool(why), key="problems.acknowledge"
        )


def _selection() -> TickedRows:
    chosen: TickedRows = st.session_state.setdefault(_SELECTION, TickedRows())
    return chosen


def _alerts(found: Sequence[ListedProblem]) -> list[ListedProblem]:
    names = _selection().names
    return [problem for problem in found if problem.id in names and not problem.is_incident]


def _clear() -> None:
    st.session_state[_SELECTION] = _selection().set(())


def _acknowledge(context: PageContext, key: str, found: Sequence[ListedProblem]) -> None:
    take_ticks(context, key)  # a tick and the click after it may come in one request
    if chosen := _alerts(found):
        acknowledgement.request([problem.number for problem in chosen])


def _silence(context: PageContext, key: str, found: Sequence[ListedProblem]) -> None:
    take_ticks(context, key)
    if chosen := _alerts(found):
        rules = {problem.rule for problem in chosen}
        names = list(dict.fromkeys(problem.machine for problem in chosen))
        form.request(names, next(iter(rules)) if len(rules) == 1 else "")
