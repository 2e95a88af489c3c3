"""The first page: what is wrong, how many machines there are, and which."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import streamlit as st
from sqlalchemy import Engine

from dashboard.actions import dialog
from dashboard.export import downloads
from dashboard.fleet import filters as fleet_filters
from dashboard.fleet import rows, selection, state, tile_map
from dashboard.fleet.state import DEFAULT, PAGE_SIZE, Place, Snapshot
from dashboard.i18n import text
from dashboard.i18n.language import _, marked, ngettext
from dashboard.page import last_good, refresh
from dashboard.page.page import Page, PageContext
from dashboard.widgets import markup, table
from dashboard.widgets.component import component
from schemas.database.queries import history as history_queries
from schemas.database.queries import machines
from schemas.database.queries import tiles as tile_queries
from schemas.database.queries.machines import Counts
from schemas.database.queries.settings import read_settings
from schemas.fleet import history

PAGE = Page(title=marked("Fleet"), path="fleet", icon=":material/dns:", order=0)

_MACHINE: Final = "machine"
_SETTINGS: Final = "settings"
_SNAPSHOT: Final = "fleet.snapshot"
_PAGER: Final = "fleet.pager"
_TABLE: Final = "fleet_table"

_CARDS_HTML: Final = '<div class="df-cards-frame"><div class="df-cards" role="group"></div></div>'
_PAGER_WIDTH: Final = 330
_TREND_SECONDS: Final = 15
"""How old the lines of the table may be: a minute is summed up some seconds after its end."""

_THRESHOLDS_SECONDS: Final = 10
"""How long the colours of the bars may follow a change of the organisation's limits; health itself follows at once."""

_SHARED_SECONDS: Final = 1
"""How old what is about the whole fleet may be; visitors share it."""

_EMPTY_TITLE: Final = marked("No machine yet")
_EMPTY: Final = marked(
    "`dashfleet up` adds the machine it runs on by itself; it appears here with its first heartbeat. "
    "To add another machine, make a token **on this server**, whose broker listens with TLS (`dashfleet up --listen`):"
)
_ON_THE_SERVER: Final = "dashfleet token create --org {org}"
_EMPTY_MORE: Final = marked(
    "Then **on that machine**, in a clone of DashFleet and with this server's `tls/ca.pem`. It asks for the token:"
)
_NO_MATCH_TITLE: Final = marked("No machine matches")
_NO_MATCH: Final = marked("Change the filters, or clear them.")


def show(context: PageContext) -> None:
    """Draw the page."""
    fleet_filters.arrive(context)
    counts = _counts(context)
    filtered = counts is not None and not _is_empty(counts)
    if filtered:
        fleet_filters.head(context, _(PAGE.title))
        fleet_filters.draw(context)
    else:
        st.html(markup.heading(_(PAGE.title), 1))
    dialog.open_if_asked(context)
    refresh.auto_refresh(partial(_fleet, context, filtered=filtered), seconds=context.refresh_seconds, key="fleet")


def _counts(context: PageContext) -> Counts | None:
    filters = fleet_filters.place().filters.described
    return last_good.read(context, "fleet.counts", partial(_shared_counts, context.engine, context.org, filters))


def _is_empty(counts: Counts) -> bool:
    """Whether there is no machine at all."""
    return not counts.numbers and fleet_filters.place().filters.described == DEFAULT


def _fleet(context: PageContext, *, filtered: bool) -> None:
    """What refreshes: the counts, the table, and its foot. `filtered`: the filters are drawn already."""
    fleet_filters.settle()
    counts = _counts(context)
    if counts is None:
        return
    if _is_empty(counts):
        _no_machine(context)
        return
    outdated = fleet_filters.outdated()
    if not filtered or outdated or dialog.asked():
        st.rerun()
    place = fleet_filters.place()
    component("cards", _CARDS_HTML)(
        key="fleet_cards",
        data={"name": _("Filter by status"), "cards": rows.cards(counts, place.filters)},
        on_pressed_change=_card_pressed,
    )
    matching = _map_of(context) if place.map else _page_of(context)
    if matching == 0:
        _no_match()


def _page_of(context: PageContext) -> int | None:
    """The table; how many machines match, or None when that cannot be known."""
    snapshot = _snapshot(context, fleet_filters.place())
    if snapshot is None or not snapshot.names:
        return None if snapshot is None else 0
    _table_of(context, snapshot)
    selection.bar(context, _TABLE, snapshot.place.filters, snapshot.total)
    _foot(context, snapshot)
    return snapshot.total


def _map_of(context: PageContext) -> int | None:
    """The map; how many machines match, or None when that cannot be known."""
    place = fleet_filters.place()
    tiles = last_good.read(
        context, "fleet.tiles", partial(_shared_tiles, context.engine, context.org, place.filters, place.group)
    )
    if tiles is None or not tiles.names:
        return None if tiles is None else 0
    opened = tile_map.draw(tiles, grouped=bool(place.group))
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
    """What is at the right of every foot: the files, and when this was read."""
    st.html(downloads.links(downloads.FLEET, state.exported(fleet_filters.place())), width="content")
    st.html(markup.live_stamp(_("Updated {at}", at=text.clock(context.now(), context.zone))), width="content")


def _table_of(context: PageContext, snapshot: Snapshot) -> None:
    found = last_good.read(
        context, "fleet.rows", partial(machines.find_rows, context.engine, context.org, snapshot.names)
    )
    settings = last_good.read(context, "settings", partial(_settings, context.engine, context.org))
    now = context.now()
    minute = now // history.MINUTE * history.MINUTE
    trends = last_good.read(
        context, "fleet.trends", partial(_trends, context.engine, context.org, snapshot.names, minute)
    )
    opened = table.draw(
        _TABLE,
        _("Machines"),
        rows.columns(snapshot.place.filters),
        rows.rows(found or [], now, settings[0].thresholds if settings else None, trends, path=f"/{_MACHINE}"),
        total=snapshot.total,
        order_age=now - snapshot.at,
        ticks=selection.shown(snapshot.names) if context.may_act else None,
        on_sorted=_header_clicked,
        on_aged=_reorder,
        on_ticks=partial(selection.ticked, context, _TABLE),
    )
    if opened:
        st.switch_page(context.pages[_MACHINE], query_params={"id": opened})


def _cpu_by_minute(engine: Engine, org: str, names: Sequence[str], now: int) -> dict[str, list[float | None]]:
    return history_queries.read_cpu_by_minute(engine, org, names, now=now, minutes=rows.TREND_MINUTES)


_trends = last_good.cached(_cpu_by_minute, seconds=_TREND_SECONDS)
_settings = last_good.cached(read_settings, seconds=_THRESHOLDS_SECONDS)
_shared_counts = last_good.cached(machines.count_by_status, seconds=_SHARED_SECONDS)
_shared_tiles = last_good.cached(tile_queries.find_tiles, seconds=_SHARED_SECONDS)


def _foot(context: PageContext, snapshot: Snapshot) -> None:
    first = (snapshot.place.number - 1) * PAGE_SIZE + 1
    last = first + len(snapshot.names) - 1
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_foot"):
        st.html(
            markup.note(
                _(
                    "{first}–{last} of {total}",
                    first=text.count(first),
                    last=text.count(last),
                    total=text.count(snapshot.total),
                )
            ),
            width="content",
        )
        if snapshot.total > PAGE_SIZE:
            st.session_state[_PAGER] = snapshot.place.number
            st.pagination(state.pages(snapshot.total), key=_PAGER, on_change=_paged, width=_PAGER_WIDTH)
        st.space("stretch")
        label = _("Order from {at}", at=text.clock(snapshot.at, context.zone))
        st.button(
            label,
            icon=":material/refresh:",
            type="tertiary",
            on_click=_reorder,
            help=_("Sort again"),
            key="fleet_reorder",
        )
        _stamp(context)


def _no_machine(context: PageContext) -> None:
    with st.container(border=True, key="card_empty"):
        st.html(markup.heading(_(_EMPTY_TITLE)))
        st.markdown(_(_EMPTY))
        st.code(_ON_THE_SERVER.format(org=context.org), language=None)
        st.markdown(_(_EMPTY_MORE))
        st.code(context.broker.install_command, language=None)
        if _SETTINGS in context.pages:
            st.page_link(
                context.pages[_SETTINGS],
                label=_("Or make a token here, with its install line"),
                icon=":material/key:",
                query_params={"section": "tokens"},
            )
        st.html(markup.note(_("Waiting for the first heartbeat …")))


def _no_match() -> None:
    with st.container(border=True, key="card_no_match", horizontal_alignment="center"):
        st.html(markup.empty(_(_NO_MATCH_TITLE), _(_NO_MATCH)))
        fleet_filters.clear_button("fleet_no_match_clear")


def _snapshot(context: PageContext, place: Place) -> Snapshot | None:
    def find(wanted: Place) -> tuple[tuple[str, ...], int]:
        offset = (wanted.number - 1) * PAGE_SIZE
        return machines.find_page(context.engine, context.org, wanted.filters, offset=offset, limit=PAGE_SIZE)

    def refreshed() -> Snapshot:
        before = st.session_state.get(_SNAPSHOT)
        snapshot = state.refreshed(before, place, find, context.now())
        if not snapshot.names and place.number > 1:  # the last page went away
            fleet_filters.go(replace(place, number=1))
            snapshot = state.refreshed(None, fleet_filters.place(), find, context.now())
        return snapshot

    snapshot = last_good.read(context, _SNAPSHOT, refreshed)
    st.session_state[_SNAPSHOT] = snapshot
    return snapshot


def _card_pressed() -> None:
    fleet_filters.narrow(state.press(fleet_filters.place().filters, st.session_state["fleet_cards"].pressed))


def _header_clicked() -> None:
    fleet_filters.go(fleet_filters.place().narrowed(state.sort(fleet_filters.place().filters, table.sorted_by(_TABLE))))


def _paged() -> None:
    fleet_filters.go(replace(fleet_filters.place(), number=st.session_state[_PAGER]))


def _reorder() -> None:
    st.session_state.pop(_SNAPSHOT, None)
