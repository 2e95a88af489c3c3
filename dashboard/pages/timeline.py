"""Timeline: everything that happened in the organisation, in one list: presence, alerts, commands, changes."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import streamlit as st

from dashboard.events import rows, timeline
from dashboard.events.event import Event, EventSource
from dashboard.events.timeline import EventPage, EventPosition
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.machine import event_list, period_row
from dashboard.page import last_good, refresh
from dashboard.page.page import Page, PageContext
from dashboard.widgets import cells, markup, search_box, table
from schemas.database.events.event_queries import NO_END, EventRange
from schemas.database.queries.history import RANGES

PAGE = Page(title=marked("Timeline"), path="timeline", icon=":material/timeline:", order=40)

PAGE_SIZE: Final = 50
_MACHINE: Final = "machine"
_SEARCH: Final = "timeline.search"
_KINDS: Final = "timeline.kinds"
_RANGE: Final = "timeline.range"
_AFTER: Final = "timeline.after"
"""Key in the session of the positions after which the pages before this one and this one begin."""

_RANGES: Final = ("24h", "7d", "30d", "1y")
_DEFAULT: Final = "7d"
_NONE: Final = marked("Changes of presence, alerts, commands and changes of settings are listed here.")


def show(context: PageContext) -> None:
    """Draw the page."""
    found = event_list.visible(context)
    if context.arrived or _RANGE not in st.session_state:
        _take_address(found)
    st.html(markup.heading(_(PAGE.title), 1))
    with st.container(horizontal=True, vertical_alignment="center", key="timeline_filters"):
        search_box.draw(_SEARCH, _("Search machine, user, action, alert"), _filtered)
        chosen = event_list.kinds_input(found, key=_KINDS, on_change=_filtered)
        st.space("stretch")
        st.segmented_control(
            _("Range"),
            _RANGES,
            key=_RANGE,
            required=True,
            format_func=period_row.range_label,
            label_visibility="collapsed",
            on_change=_filtered,
        )
    refresh.auto_refresh(partial(_list, context, chosen), seconds=context.refresh_seconds, key="timeline")


def _take_address(found: Sequence[EventSource]) -> None:
    query = st.query_params
    kinds = query.get("kinds", "").split(",")
    code = query.get("range", "")
    after = EventPosition.parse(query.get("after", ""))
    st.session_state[_SEARCH] = query.get("q", "")[: search_box.LENGTH_MAX]
    st.session_state[_KINDS] = [source.kind for source in found if source.kind in kinds]
    st.session_state[_RANGE] = code if code in _RANGES else _DEFAULT
    st.session_state[_AFTER] = [after] if after is not None else []


def _filtered() -> None:
    st.session_state[_AFTER] = []
    _set_address()


def _set_address() -> None:
    kinds, after = st.session_state.get(_KINDS) or (), st.session_state[_AFTER]
    code = st.session_state[_RANGE]
    query = {
        "q": st.session_state[_SEARCH],
        "kinds": ",".join(kinds),
        "range": "" if code == _DEFAULT else code,
        "after": str(after[-1]) if after else "",
    }
    st.query_params.from_dict({name: value for name, value in query.items() if value})


def _list(context: PageContext, chosen: Sequence[EventSource]) -> None:
    now = context.now()
    before: list[EventPosition] = st.session_state[_AFTER]
    wanted = EventRange(
        now - RANGES[st.session_state[_RANGE]], NO_END, search=st.session_state[_SEARCH], limit=PAGE_SIZE
    )
    read = partial(timeline.read_page, context, chosen, wanted, before[-1] if before else None)
    page = last_good.read(context, "timeline", read)
    if page is None:
        return
    if not page.events:
        st.html(markup.empty(_("No events"), _("No event matches these filters.") if _is_narrowed() else _(_NONE)))
    else:
        columns = cells.columns(rows.OF_A_FLEET)
        drawn = rows.of_a_fleet(page.events, now, context.zone)
        opened = table.draw("timeline_table", _(PAGE.title), columns, drawn, total=len(drawn))
        event = event_list.open_details(context, event_list.find(page, opened), opened)
        if event is not None:
            _open(context, event)
    _foot(context, page)


def _is_narrowed() -> bool:
    return bool(st.session_state[_SEARCH] or st.session_state.get(_KINDS) or st.session_state[_AFTER])


def _open(context: PageContext, event: Event) -> None:
    """Go to the machine at the time of an event, or to the page of the event."""
    if event.machine:
        st.switch_page(context.pages[_MACHINE], query_params=rows.machine_query(event, context.now()))
    if event.page in context.pages:
        st.switch_page(context.pages[event.page], query_params=dict(event.query))


def _foot(context: PageContext, page: EventPage) -> None:
    before = st.session_state[_AFTER]
    with st.container(horizontal=True, vertical_alignment="center", key="timeline_foot"):
        st.button(_("Newer"), on_click=partial(_turn, before[:-1]), disabled=not before, key="timeline_newer")
        following = [*before, page.following] if page.following else before
        st.button(_("Older"), on_click=partial(_turn, following), disabled=not page.following, key="timeline_older")
        st.space("stretch")
        st.html(markup.live_stamp(_("Updated {at}", at=text.clock(context.now(), context.zone))), width="content")


def _turn(after: list[EventPosition]) -> None:
    st.session_state[_AFTER] = after
    _set_address()
