"""The events of one machine as a list with a filter of kinds, below its problems."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import streamlit as st

from dashboard.events import rows, sources, timeline
from dashboard.events.event import Event, EventSource, discover
from dashboard.events.timeline import EventPage, EventPosition
from dashboard.i18n.language import _
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.page.period import Period
from dashboard.widgets import cells, markup, table
from dashboard.widgets.charts import MARKS_MAX
from schemas.database.events.event_queries import NO_END, EventRange
from schemas.fleet.history import DAY

SHOWN_FIRST: Final = 6
_MORE: Final = 25
_SHOWN_MAX: Final = 200
_BEGAN_BEFORE: Final = 30 * DAY
_KINDS: Final = "events.kinds"
_SHOWN: Final = "events.shown"
_OF: Final = "events.of"


def of_machines(context: PageContext) -> list[EventSource]:
    """Return the sources of a machine's events that the visitor may see."""
    return [source for source in visible(context) if source.of_machines]


def visible(context: PageContext) -> list[EventSource]:
    """Return the sources that the visitor may see."""
    return [source for source in discover(sources) if context.role in source.roles]


def kinds_input(
    found: Sequence[EventSource], key: str = _KINDS, on_change: Callable[[], None] | None = None
) -> list[EventSource]:
    """Draw the filter of kinds, and return the chosen sources; all if none is chosen."""
    titles = {source.kind: source.title for source in found}
    chosen = st.pills(
        _("Kinds of events"),
        list(titles),
        key=key,
        selection_mode="multi",
        format_func=lambda kind: _(titles[kind]),
        label_visibility="collapsed",
        on_change=on_change,
    )
    return [source for source in found if not chosen or source.kind in chosen]


def draw(context: PageContext, name: str) -> Event | None:
    """Draw the list of a machine, and return the event that was just opened, if any.

    A click on the details of an event opens their page.
    """
    if st.session_state.get(_OF) != name:
        st.session_state.update({_OF: name, _SHOWN: SHOWN_FIRST})
    with st.container(horizontal=True, vertical_alignment="center", key="events_head"):
        st.html(markup.heading(_("Events")), width="content")
        st.space("stretch")
        chosen = kinds_input(of_machines(context))
    now, most = context.now(), int(st.session_state[_SHOWN])
    wanted = EventRange(0, NO_END, machine=name, limit=most)
    key = f"events.{name}.{'-'.join(source.kind for source in chosen)}"
    page = last_good.read(context, key, partial(timeline.read_page, context, chosen, wanted)) or EventPage(())
    if not page.events:
        st.html(markup.note(_("No events yet.")))
        return None
    columns = cells.columns(rows.OF_A_MACHINE)
    drawn = rows.of_a_machine(page.events, now, context.zone)
    opened = table.draw("machine_events", _("Events"), columns, drawn, total=len(drawn))
    if page.following is not None and most < _SHOWN_MAX:
        st.button(
            _("Show more"), type="tertiary", icon=":material/expand_more:", key="events_more", on_click=_show_more
        )
    return open_details(context, find(page, opened), opened)


def within(context: PageContext, name: str, period: Period) -> Sequence[Event]:
    """Return the newest events of a machine in a time range, of the kinds that are chosen; also what began before."""
    chosen = st.session_state.get(_KINDS) or ()
    found = [source for source in of_machines(context) if not chosen or source.kind in chosen]
    wanted = EventRange(period.start - _BEGAN_BEFORE, period.end + 1, machine=name, limit=MARKS_MAX)
    read = partial(timeline.read_page, context, found, wanted)
    page = last_good.read(context, f"marks.{name}", read)
    return page.events if page is not None else ()


def open_details(context: PageContext, event: Event | None, opened: str) -> Event | None:
    """Go to the page with the details of an event if its link was opened; otherwise return the event."""
    if event is not None and event.page in context.pages and opened.startswith(rows.DETAILS):
        st.switch_page(context.pages[event.page], query_params=dict(event.query))
    return event


def find(page: EventPage, opened: str) -> Event | None:
    """Return the event whose row, or whose link to details, was opened."""
    position = opened.removeprefix(rows.DETAILS)
    return next((event for event in page.events if str(EventPosition.of(event)) == position), None)


def _show_more() -> None:
    st.session_state[_SHOWN] = min(_SHOWN_MAX, int(st.session_state[_SHOWN]) + _MORE)
