"""Comparison of two to six machines: each reading as one chart with a line for each machine."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.fleet import compared
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.machine import charts as machine_charts
from dashboard.machine import history, period_row
from dashboard.machine.charts import MachineHistory
from dashboard.page import address, last_good, refresh
from dashboard.page.page import Page, PageContext
from dashboard.problems import rows as problem_rows
from dashboard.widgets import cells, markup, search_box, table
from schemas.database.queries import machines
from schemas.database.queries.machines import Filters
from schemas.database.queries.settings import read_settings
from schemas.fleet.machine_name import machine_name

PAGE = Page(title=marked("Compare machines"), path="compare", icon=":material/compare_arrows:", order=2, in_menu=False)

_FLEET: Final = "fleet"
_MACHINE: Final = "machine"
_SEARCH: Final = "compare.search"
_MATCHES_MAX: Final = 6
_NONE: Final = marked("Search a machine below, or select machines on the fleet page.")


def show(context: PageContext) -> None:
    """Draw the page."""
    names = _chosen()
    with st.container(key="back"):
        st.page_link(context.pages[_FLEET], label=_("Fleet"), icon=":material/arrow_back:")
    st.html(markup.heading(_(PAGE.title), 1))
    _choice(context, names)
    if not names:
        st.html(markup.empty(_("No machines chosen"), _(_NONE)))
        return
    refresh.auto_refresh(partial(_states, context, names), seconds=context.refresh_seconds, key="compare_states")
    period_row.draw(context, _("History"), comparing=False)
    refresh.auto_refresh(partial(_charts, context, names), seconds=context.refresh_seconds, key="compare_charts")


def _chosen() -> list[str]:
    return compared.parse(address.read().get("ids", ""))


def _choice(context: PageContext, names: Sequence[str]) -> None:
    """Draw the machines with buttons that remove them, and the search that adds others."""
    with st.container(horizontal=True, vertical_alignment="center", key="compare_choice"):
        for name in names:
            st.button(
                _("Remove {machine}", machine=markup.plain(name)),
                icon=":material/close:",
                key=f"compare.remove.{name}",
                on_click=partial(_remove, name),
            )
        if len(names) < compared.MACHINES_MAX:
            search_box.draw(_SEARCH, _("Add a machine"), lambda: None)
    words = str(st.session_state.get(_SEARCH, "")).strip()
    if not words or len(names) >= compared.MACHINES_MAX:
        return
    wanted, limit = Filters(search=words), _MATCHES_MAX + len(names)
    found = last_good.read_org(context, "compare.found", machines.find_page, wanted, offset=0, limit=limit)
    matches = [name for name in (found[0] if found else ()) if name not in names][:_MATCHES_MAX]
    with st.container(horizontal=True, key="compare_matches"):
        for name in matches:
            label = _("Add {machine}", machine=markup.plain(name))
            add = partial(_add, name)
            st.button(label, icon=":material/add:", key=f"compare.add.{name}", on_click=add, type="tertiary")
        if not matches:
            st.html(markup.note(_("No machine matches")))


def _remove(machine: str) -> None:
    _set([name for name in _chosen() if name != machine])


def _add(machine: str) -> None:
    _set(list(dict.fromkeys((*_chosen(), machine))))


def _set(names: Sequence[str]) -> None:
    st.session_state[_SEARCH] = ""
    address.change({**address.read(), **compared.address(names)})


def _states(context: PageContext, names: Sequence[str]) -> None:
    found = last_good.read_org(context, f"compare.{','.join(names)}", machines.find_rows, names) or []
    drawn = problem_rows.machines(found, context.now(), context.zone, path=f"/{_MACHINE}")
    columns = cells.columns(problem_rows.MACHINE_HEADS)
    opened = table.draw("compare_table", _("Machines"), columns, drawn, total=len(drawn))
    if opened:
        st.switch_page(context.pages[_MACHINE], query_params={"id": opened})


def _charts(context: PageContext, names: Sequence[str]) -> None:
    if st.session_state.pop(history.REDRAW, False):
        st.rerun()
    settings = last_good.read_org(context, "settings", read_settings)
    if settings is None:
        return
    period = period_row.current(context)
    rows: list[Row[Any]] = []
    for name in names:
        rows += last_good.find_org(context, f"machine.{name}", machines.find_machine, name) or []
    extras = {metric.name: metric for row in rows for metric in machine_charts.metrics(row.info)}
    found = [(row, history.read(context, row, period, settings[1], list(extras), key="history")) for row in rows]
    histories = [
        MachineHistory(text.readable(machine_name(row.name, row.hostname)), data.rows, history.spacing(data, row))
        for row, data in found
        if data is not None
    ]
    drawn = machine_charts.of_machines(histories, list(extras.values()))
    if not drawn:
        with st.container(border=True, key="card_no_history"):
            st.html(markup.note(_("No data in this time range.")))
        return
    history.draw_charts(context, drawn, period)
