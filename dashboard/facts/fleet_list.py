"""A page with all items of one kind in the fleet, the worst first: filter, search and paging are in the address."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import streamlit as st
from sqlalchemy import Row

from dashboard.facts import texts
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import last_good, refresh
from dashboard.page.page import Page, PageContext
from dashboard.widgets import cells, markup, search_box, table
from schemas.database.facts.fact_queries import FactFilter, count_fleet_items, list_fleet_items
from schemas.fleet.machine_name import machine_name

PAGE_SIZE: Final = 50
_MACHINE: Final = "machine"
_PAGES_MAX: Final = 1000
_COLUMNS: Final[cells.Heads] = (
    ("item", marked("Name")),
    ("health", marked("Health")),
    ("machine", marked("Machine")),
    ("since", marked("Since")),
    ("details", marked("Details")),
)


def show(context: PageContext, page: Page, kind: str, *, none: str) -> None:
    """Draw the page of a kind. `none`: what to say where no machine states it."""
    if context.arrived or _key(kind, "q") not in st.session_state:
        _take_address(kind)
    st.html(markup.heading(_(page.title), 1))
    changed = partial(_changed, kind)
    with st.container(horizontal=True, vertical_alignment="center", key=f"{kind}_filters"):
        search_box.draw(_key(kind, "q"), _("Search name, machine, details"), changed)
        st.pills(
            _("Health"),
            list(texts.HEALTHS),
            key=_key(kind, "state"),
            selection_mode="multi",
            format_func=lambda code: texts.health(code).label,
            label_visibility="collapsed",
            on_change=changed,
        )
    draw = partial(_list, context, page, kind, none)
    refresh.auto_refresh(draw, seconds=context.refresh_seconds, key=f"all_{kind}")


def _take_address(kind: str) -> None:
    query = st.query_params
    states = query.get("state", "").split(",")
    number = query.get("page", "")
    is_number = number.isascii() and number.isdigit() and len(number) < len(str(_PAGES_MAX))
    st.session_state[_key(kind, "q")] = query.get("q", "")[: search_box.LENGTH_MAX]
    st.session_state[_key(kind, "state")] = [code for code in texts.HEALTHS if code in states]
    st.session_state[_key(kind, "page")] = int(number) if is_number else 0


def _changed(kind: str) -> None:
    st.session_state[_key(kind, "page")] = 0
    _set_address(kind)


def _set_address(kind: str) -> None:
    number = int(st.session_state[_key(kind, "page")])
    query = {
        "q": st.session_state[_key(kind, "q")],
        "state": ",".join(st.session_state.get(_key(kind, "state")) or ()),
        "page": str(number) if number else "",
    }
    st.query_params.from_dict({name: value for name, value in query.items() if value})


def _list(context: PageContext, page: Page, kind: str, none: str) -> None:
    search, healths = st.session_state[_key(kind, "q")], tuple(st.session_state.get(_key(kind, "state")) or ())
    counts = last_good.read_org(context, f"counts.{kind}", count_fleet_items, kind)
    if counts is None:
        return
    if not counts:
        st.html(markup.empty(_("Nothing to show yet"), none))
        return
    shown = [(texts.health(code), text.count(counts[code])) for code in (*texts.HEALTHS, None) if counts.get(code)]
    st.html(markup.counts(shown))
    first = PAGE_SIZE * int(st.session_state[_key(kind, "page")])
    wanted = FactFilter(kind, search, healths)
    found = last_good.read_org(context, f"all.{kind}", list_fleet_items, wanted, offset=first, limit=PAGE_SIZE + 1)
    if found is None:
        return
    if not found:
        st.html(markup.empty(_("No matches"), _("Nothing matches these filters.")))
    else:
        rows = [row(item, context.now()) for item in found[:PAGE_SIZE]]
        opened = table.draw(f"{kind}_table", _(page.title), cells.columns(_COLUMNS), rows, total=len(rows))
        _open(context, found, opened)
    _foot(context, kind, more=len(found) > PAGE_SIZE)


def row(item: Row[Any], now: int) -> dict[str, Any]:
    """Return the row of an item; it opens the machine."""
    return cells.row(
        _id(item),
        f"/{_MACHINE}?{urlencode({'id': item.name})}",
        cells.name(item.key),
        cells.chip(texts.health(item.health)),
        cells.plain(machine_name(item.name, item.hostname)),
        cells.plain(text.ago(item.since_at, now)),
        cells.plain(texts.details(item.fields)),
    )


def _open(context: PageContext, found: Sequence[Row[Any]], opened: str) -> None:
    for item in found:
        if opened and _id(item) == opened:
            st.switch_page(context.pages[_MACHINE], query_params={"id": item.name})


def _id(item: Row[Any]) -> str:
    return f"{item.machine_id}.{item.key}"


def _foot(context: PageContext, kind: str, *, more: bool) -> None:
    number = int(st.session_state[_key(kind, "page")])
    with st.container(horizontal=True, vertical_alignment="center", key=f"{kind}_foot"):
        st.button(_("Previous"), on_click=partial(_turn, kind, -1), disabled=not number, key=f"{kind}_previous")
        st.button(_("Next"), on_click=partial(_turn, kind, 1), disabled=not more, key=f"{kind}_next")
        st.space("stretch")
        st.html(markup.live_stamp(_("Updated {at}", at=text.clock(context.now(), context.zone))), width="content")


def _turn(kind: str, by: int) -> None:
    st.session_state[_key(kind, "page")] = max(0, int(st.session_state[_key(kind, "page")]) + by)
    _set_address(kind)


def _key(kind: str, name: str) -> str:
    return f"all.{kind}.{name}"
