"""Problems: alerts of single machines and incidents that concern several, active and resolved."""

from functools import partial
from typing import Final

import streamlit as st

from dashboard.changes import pending_changes
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import dialog_steps, last_good, refresh
from dashboard.page.page import Page, PageContext
from dashboard.problems import filters, rows, selection, view
from dashboard.silences import buttons, texts
from dashboard.widgets import cells, markup, table
from schemas.database.queries import machines, problems
from schemas.database.queries.problems import ACTIVE, RESOLVED, ListedProblem, ProblemFilter

PAGE = Page(title=marked("Problems"), path="problems", icon=":material/warning:", order=10)

_MACHINE: Final = "machine"
_TABLE: Final = "problems_table"
_SHOWN_FIRST: Final = 100
_SHOWN_MAX: Final = 2000
_SHOWN: Final = "problems.shown"
_NONE: Final = marked(
    "A problem is raised when a machine stays offline, runs short of CPU, memory or disk, has a wrong clock, or sends "
    "no metrics, and when several machines stop reporting at the same time."
)
_UNKNOWN: Final = marked("It was deleted with the retention of events, or the link is mistyped.")


def show(context: PageContext) -> None:
    """Draw the list, or the problem that the address names."""
    id_ = st.query_params.get("id", "")
    if id_:
        with st.container(key="back"):
            query = view.address(filters.current())
            st.page_link(
                context.pages[PAGE.path], label=_(PAGE.title), icon=":material/arrow_back:", query_params=query
            )
        dialog_steps.open_requested(context)
        refresh.auto_refresh(partial(_one, context, id_), seconds=context.refresh_seconds, key="problem")
        return
    filters.sync_from_address(context)
    st.html(markup.heading(_(PAGE.title), 1))
    filters.draw(context)
    dialog_steps.open_requested(context)
    refresh.auto_refresh(partial(_list, context), seconds=context.refresh_seconds, key="problems")


def _list(context: PageContext) -> None:
    if dialog_steps.is_requested():
        st.rerun()
    pending_changes.draw(context)
    wanted, most = filters.current(), int(st.session_state.setdefault(_SHOWN, _SHOWN_FIRST))
    found = last_good.read_org(context, "problems", problems.list_problems, wanted, offset=0, limit=most + 1)
    if found is None:
        return
    if not found:
        _nothing(wanted)
        return
    shown = found[:most]
    drawn = rows.rows(shown, context.now(), context.zone, path=f"/{PAGE.path}", machine_path=f"/{_MACHINE}")
    may_tick = context.may_act and wanted.state == ACTIVE
    if may_tick:
        selection.bar(context, _TABLE, shown)
    opened = table.draw(
        _TABLE,
        _(PAGE.title),
        cells.columns(rows.HEADS),
        drawn,
        total=len(drawn),
        ticks=selection.shown(shown) if may_tick else None,
        on_ticks=partial(selection.take_ticks, context, _TABLE),
    )
    for problem in shown:
        if problem.id == opened:
            _open(context, problem)
    with st.container(horizontal=True, vertical_alignment="center", key="problems_foot"):
        if len(found) > most and most < _SHOWN_MAX:
            st.button(_("Show more"), on_click=_show_more, key="problems_more")
        st.space("stretch")
        st.html(markup.live_stamp(_("Updated {at}", at=text.clock(context.now(), context.zone))), width="content")


def _nothing(wanted: ProblemFilter) -> None:
    if view.address(wanted) not in ({}, {"state": RESOLVED}):
        with st.container(border=True, key="card_no_problem", horizontal_alignment="center"):
            st.html(markup.empty(_("No problem matches"), _("Change the filters, or clear them.")))
            st.button(_("Clear filters"), key="problems_clear", on_click=filters.clear)
    elif wanted.state == RESOLVED:
        st.html(markup.empty(_("No resolved problems"), _(_NONE)))
    else:
        st.html(markup.empty(_("No active problems"), _(_NONE)))


def _show_more() -> None:
    st.session_state[_SHOWN] = min(_SHOWN_MAX, 2 * int(st.session_state[_SHOWN]))


def _open(context: PageContext, problem: ListedProblem) -> None:
    if problem.is_incident:
        st.switch_page(context.pages[PAGE.path], query_params={"id": problem.id})
    st.switch_page(context.pages[_MACHINE], query_params={"id": problem.machine})


def _one(context: PageContext, id_: str) -> None:
    """Draw one problem with the machines that it concerns."""
    if dialog_steps.is_requested():
        st.rerun()
    found = last_good.find_org(context, f"problem.{id_}", problems.find_problem, id_)
    if found == []:
        st.html(markup.empty(_("Problem not found"), _(_UNKNOWN)))
    for problem in found or ():
        st.html(markup.title(rows.title(problem), rows.severity(problem)))
        since = text.moment(problem.started_at, context.now(), context.zone)
        ended = problem.ended_at
        until = _("ended {at}", at=text.moment(ended, context.now(), context.zone)) if ended is not None else ""
        parts = [rows.detail(problem), _("since {at}", at=since), until, rows.lasted(problem, context.now())]
        attention = texts.attention(problem, context.now(), context.zone)
        parts += [] if attention is None else [attention.label, texts.attention_reason(problem)]
        st.html(markup.note(" · ".join(filter(None, parts))))
        pending_changes.draw(context)
        if not problem.is_incident and ended is None:
            buttons.draw(context, problem.machine, [problem])
        _machines(context, problem)


def _machines(context: PageContext, problem: ListedProblem) -> None:
    names = problem.names
    found = last_good.read_org(context, f"problem.machines.{problem.id}", machines.find_rows, names) or []
    if not found:
        return
    drawn = rows.machines(found, context.now(), context.zone, path=f"/{_MACHINE}")
    opened = table.draw("problem_machines", _("Machines"), cells.columns(rows.MACHINE_HEADS), drawn, total=len(drawn))
    if opened:
        st.switch_page(context.pages[_MACHINE], query_params={"id": opened})
    rest = int(problem.details.get("machines") or 0) - len(names)
    if rest > 0:
        st.html(markup.note(text.and_more(rest)))
