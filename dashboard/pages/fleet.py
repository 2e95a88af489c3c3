"""The fleet page: cards with the number of machines in each state, and the machines as a table or a map."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import streamlit as st
from sqlalchemy import Engine

from dashboard.enrolment import add_machine
from dashboard.export import downloads
from dashboard.fleet import chosen_columns, rows, selection, state, strip, tile_map, view_switch
from dashboard.fleet import filters as fleet_filters
from dashboard.fleet.state import DEFAULT, PAGE_SIZE, FleetView, RowSnapshot
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import dialog_steps, last_good, problem_counts, refresh
from dashboard.page.page import Page, PageContext
from dashboard.page.shared_results import SharedResult
from dashboard.widgets import markup, table
from dashboard.widgets.component import component
from schemas.database.queries import history as history_queries
from schemas.database.queries import machines
from schemas.database.queries import tiles as tile_queries
from schemas.database.queries.machines import Counts
from schemas.database.queries.settings import read_settings
from schemas.database.series import fleet_columns
from schemas.fleet import history

PAGE = Page(title=marked("Fleet"), path="fleet", icon=":material/dns:", order=0)

_MACHINE: Final = "machine"
_SNAPSHOT: Final = "fleet.snapshot"
_PAGER: Final = "fleet.pager"
_TABLE: Final = "fleet_table"

_CARDS_HTML: Final = '<div class="df-cards-frame"><div class="df-cards" role="group"></div></div>'
_PAGER_WIDTH: Final = 330
_TREND_SECONDS: Final = 15
"""How long CPU lines are cached; a minute is rolled up some seconds after its end."""

_THRESHOLDS_SECONDS: Final = 10
"""How long thresholds are cached: bar colours follow a change after this time, health at once."""

_SHARED_SECONDS: Final = 1
"""How long figures of the whole fleet are cached, for all visitors."""

_EMPTY: Final = marked(
    "`dashfleet up` adds the machine it runs on; it appears here with its first heartbeat. To add "
    "another machine, create a token **on this server**, whose broker listens with TLS (`dashfleet up --listen`):"
)
_ON_THE_SERVER: Final = "dashfleet token create --org {org}"
_EMPTY_MORE: Final = marked(
    "Then **on that machine**, run this command. It asks for the token and installs the agent as a service:"
)


def _cpu_by_minute(engine: Engine, org: str, names: Sequence[str], now: int) -> dict[str, list[float | None]]:
    return history_queries.read_cpu_by_minute(engine, org, names, now=now, minutes=rows.TREND_MINUTES)


_cached_trends = SharedResult(_cpu_by_minute, seconds=_TREND_SECONDS)
_cached_settings = SharedResult(read_settings, seconds=_THRESHOLDS_SECONDS)
_cached_tiles = SharedResult(tile_queries.find_tiles, seconds=_SHARED_SECONDS)


def show(context: PageContext) -> None:
    """Draw the page."""
    fleet_filters.sync_from_address(context)
    counts = _counts(context)
    filtered = counts is not None and not _is_empty(counts)
    if filtered:
        view_switch.head(context, _(PAGE.title))
        fleet_filters.draw(context)
    else:
        st.html(markup.heading(_(PAGE.title), 1))
    dialog_steps.open_requested(context)
    refresh.auto_refresh(partial(_fleet, context, filtered=filtered), seconds=context.refresh_seconds, key="fleet")


def _counts(context: PageContext) -> Counts | None:
    return problem_counts.read_counts(context, fleet_filters.current().filters)


def _is_empty(counts: Counts) -> bool:
    """Return True if the organisation has no machine at all."""
    return not counts.numbers and fleet_filters.current().filters.described == DEFAULT


def _fleet(context: PageContext, *, filtered: bool) -> None:
    """Draw what refreshes: cards, table or map, foot. `filtered`: the row of filters is drawn already."""
    fleet_filters.acknowledge_address()
    counts = _counts(context)
    if counts is None:
        return
    if dialog_steps.is_requested():
        st.rerun()
    if _is_empty(counts):
        _no_machine(context)
        return
    outdated = fleet_filters.pop_outdated()
    if not filtered or outdated:
        st.rerun()
    strip.draw(context)
    view = fleet_filters.current()
    component("cards", _CARDS_HTML)(
        key="fleet_cards",
        data={"name": _("Filter by status"), "cards": rows.cards(counts, view.filters)},
        on_pressed_change=_card_pressed,
    )
    matching = _map_of(context, view) if view.map else _page_of(context, view, counts.newest_change)
    if matching == 0:
        with st.container(border=True, key="card_no_match", horizontal_alignment="center"):
            st.html(markup.empty(_("No machine matches"), _("Change the filters, or clear them.")))
            fleet_filters.clear_button("fleet_no_match_clear")


def _page_of(context: PageContext, view: FleetView, newest_change: int | None) -> int | None:
    """Draw the table; return the number of matching machines, None if unknown."""
    snapshot = _snapshot(context, view, newest_change)
    if snapshot is None or not snapshot.names:
        return None if snapshot is None else 0
    _table_of(context, snapshot, outdated=snapshot.is_outdated(newest_change))
    selection.bar(context, _TABLE, snapshot.view.filters, snapshot.total)
    _foot(context, snapshot)
    return snapshot.total


def _map_of(context: PageContext, view: FleetView) -> int | None:
    """Draw the map; return the number of matching machines, None if unknown."""
    tiles = last_good.read_org(context, "fleet.tiles", _cached_tiles, view.filters, view.group, view.colour)
    if tiles is None or not tiles.names:
        return None if tiles is None else 0
    remember = view_switch.to_remember()
    opened = tile_map.draw(tiles, grouped=bool(view.group), colour=view.colour, remember=remember)
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_foot"):
        shown = text.count(len(tiles.names))
        of_them = ngettext("{shown} of {n} machine", "{shown} of {n} machines", tiles.total, shown=shown)
        st.html(markup.note(of_them), width="content")
        st.space("stretch")
        _stamp(context)
    if opened:
        st.switch_page(context.pages[_MACHINE], query_params={"id": opened})
    return tiles.total


def _stamp(context: PageContext) -> None:
    st.html(downloads.links(downloads.FLEET, state.exported(fleet_filters.current())), width="content")
    st.html(markup.live_stamp(_("Updated {at}", at=text.clock(context.now(), context.zone))), width="content")


def _table_of(context: PageContext, snapshot: RowSnapshot, *, outdated: bool) -> None:
    now, names = context.now(), snapshot.names
    found = last_good.read_org(context, "fleet.rows", machines.find_rows, names)
    settings = last_good.read_org(context, "settings", _cached_settings)
    trends = last_good.read_org(context, "fleet.trends", _cached_trends, names, now // history.MINUTE * history.MINUTE)
    chosen = _chosen_columns(context, snapshot)
    opened = table.draw(
        _TABLE,
        _("Machines"),
        rows.columns(snapshot.view.filters, snapshot.view.columns, chosen.heads),
        rows.rows(
            found or [],
            now,
            settings[0].thresholds if settings else None,
            trends,
            path=f"/{_MACHINE}",
            zone=context.zone,
            label_keys=snapshot.view.columns,
            readings=chosen.cells,
        ),
        total=snapshot.total,
        order_age=now - snapshot.at,
        outdated=outdated,
        remember=fleet_filters.to_remember(),
        ticks=selection.shown(names) if context.may_act else None,
        on_sorted=_header_clicked,
        on_aged=_sort_again,
        on_ticks=partial(selection.take_ticks, context, _TABLE),
        on_picked=_label_picked,
    )
    if opened:
        st.switch_page(context.pages[_MACHINE], query_params={"id": opened})


def _chosen_columns(context: PageContext, snapshot: RowSnapshot) -> chosen_columns.ChosenColumns:
    """Return the columns of readings and lists; without any, nothing is read."""
    codes = snapshot.view.readings
    if not codes:
        return chosen_columns.ChosenColumns((), {}, {}, context.now(), context.zone)
    numbers = last_good.read_org(context, "fleet.chosen", fleet_columns.read_numbers, snapshot.names, codes)
    choices = fleet_filters.column_choices(context)
    return chosen_columns.ChosenColumns(codes, choices, numbers or {}, context.now(), context.zone)


def _foot(context: PageContext, snapshot: RowSnapshot) -> None:
    first = (snapshot.view.number - 1) * PAGE_SIZE + 1
    last, total = first + len(snapshot.names) - 1, snapshot.total
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_foot"):
        numbers = {"first": text.count(first), "last": text.count(last), "total": text.count(total)}
        st.html(markup.note(_("{first}–{last} of {total}", **numbers)), width="content")
        if total > PAGE_SIZE:
            st.session_state[_PAGER] = snapshot.view.number
            st.pagination(state.pages(total), key=_PAGER, on_change=_paged, width=_PAGER_WIDTH)
        st.space("stretch")
        st.button(
            _("Re-sort (sorted at {at})", at=text.clock(snapshot.at, context.zone)),
            icon=":material/refresh:",
            type="tertiary",
            on_click=_sort_again,
            key="fleet_reorder",
        )
        _stamp(context)


def _no_machine(context: PageContext) -> None:
    with st.container(border=True, key="card_empty"):
        st.html(markup.heading(_("No machines yet")))
        st.markdown(_(_EMPTY))
        st.code(_ON_THE_SERVER.format(org=context.org), language=None)
        st.markdown(_(_EMPTY_MORE))
        st.code(context.broker.install_command, language=None, wrap_lines=True)
        if context.may_administer:
            st.button(_("Or add machines here …"), icon=":material/key:", key="fleet_add", on_click=add_machine.request)
        st.html(markup.note(_("Waiting for the first heartbeat …")))


def _snapshot(context: PageContext, view: FleetView, newest_change: int | None) -> RowSnapshot | None:
    def find(wanted: FleetView) -> tuple[tuple[str, ...], int]:
        offset = (wanted.number - 1) * PAGE_SIZE
        return machines.find_page(context.engine, context.org, wanted.filters, offset=offset, limit=PAGE_SIZE)

    def refreshed() -> RowSnapshot:
        before = st.session_state.get(_SNAPSHOT)
        snapshot = state.refreshed(before, view, find, context.now(), newest_change)
        if not snapshot.names and view.number > 1:  # the last page no longer exists
            fleet_filters.set_view(replace(view, number=1))
            snapshot = state.refreshed(None, fleet_filters.current(), find, context.now(), newest_change)
        return snapshot

    snapshot = last_good.read(context, _SNAPSHOT, refreshed)
    st.session_state[_SNAPSHOT] = snapshot
    return snapshot


def _card_pressed() -> None:
    pressed = st.session_state["fleet_cards"].pressed
    fleet_filters.set_filters(state.press(fleet_filters.current().filters, pressed))


def _header_clicked() -> None:
    view = fleet_filters.current()
    fleet_filters.set_view(view.narrowed(state.sort(view.filters, table.sorted_by(_TABLE))))


def _label_picked() -> None:
    view = fleet_filters.current()
    fleet_filters.show_view(view.narrowed(state.pick(view.filters, table.picked(_TABLE))))


def _paged() -> None:
    fleet_filters.set_view(replace(fleet_filters.current(), number=st.session_state[_PAGER]))


def _sort_again() -> None:
    st.session_state.pop(_SNAPSHOT, None)
