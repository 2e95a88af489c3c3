"""The heading of the fleet page: table or map, and what groups and colours the tiles of the map."""

from dataclasses import replace
from functools import partial
from typing import Final

import streamlit as st

from dashboard.enrolment import add_machine
from dashboard.fleet import filters, map_choice, tile_map
from dashboard.fleet.filters import COLOUR, GROUP, SYSTEM, TABLE, VIEW
from dashboard.fleet.map_choice import MapChoice
from dashboard.fleet.state import MAP
from dashboard.i18n.language import _, marked
from dashboard.page.page import PageContext
from dashboard.widgets import markup
from schemas.database.queries.tiles import BY_LABEL, BY_SYSTEM

_CHOSEN: Final = "fleet.map.chosen"
"""The choice that the visitor has made in this session, which the browser then remembers."""

_GROUP_WIDTH: Final = 230
_COLOUR_WIDTH: Final = 180
_VIEWS: Final = {TABLE: marked("Table"), MAP: marked("Map")}


def head(context: PageContext, title: str) -> None:
    """Draw the page's heading, and beside it the choice of table or map and of how the map is drawn."""
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_head"):
        st.html(markup.heading(title, 1), width="content")
        st.space("stretch")
        if context.may_administer:
            st.button(_("Add machines …"), icon=":material/add:", key="fleet_add", on_click=add_machine.request)
        if filters.current().map:
            _colouring()
            _grouping(context)
        st.segmented_control(
            _("View"),
            list(_VIEWS),
            key=VIEW,
            required=True,
            format_func=lambda code: _(_VIEWS[code]),
            label_visibility="collapsed",
            on_change=partial(_view_chosen, context),
        )


def to_remember() -> str:
    """Return what the browser must remember of the map; empty while the visitor has chosen nothing."""
    chosen: MapChoice | None = st.session_state.get(_CHOSEN)
    return map_choice.written(chosen) if chosen else ""


def _view_chosen(context: PageContext) -> None:
    """Change between table and map. The map is drawn as the visitor chose it last."""
    view = replace(filters.current(), map=st.session_state[VIEW] == MAP, number=1)
    if view.map and not (view.group or view.colour):
        remembered = map_choice.read(str(st.context.cookies.get(map_choice.COOKIE, "")))
        choice = st.session_state.get(_CHOSEN) or remembered or map_choice.usual(filters.offered(context).labels)
        view = replace(view, group=choice.group, colour=choice.colour)
        st.session_state.update({GROUP: view.group, COLOUR: view.colour})
    filters.set_view(view)


def _map_chosen() -> None:
    choice = MapChoice(st.session_state[GROUP], st.session_state[COLOUR])
    st.session_state[_CHOSEN] = choice
    filters.set_view(replace(filters.current(), group=choice.group, colour=choice.colour))


def _colouring() -> None:
    st.selectbox(
        _("Colour by"),
        list(tile_map.COLOURS),
        key=COLOUR,
        format_func=lambda code: _("Colour: {what}", what=_(tile_map.COLOURS[code])),
        label_visibility="collapsed",
        width=_COLOUR_WIDTH,
        on_change=_map_chosen,
    )


def _grouping(context: PageContext) -> None:
    keys = dict.fromkeys(label.partition("=")[0] for label in filters.offered(context).labels)
    codes = dict.fromkeys(("", BY_SYSTEM, *(f"{BY_LABEL}{key}" for key in keys), filters.current().group))
    named = {"": _("Not grouped"), BY_SYSTEM: _(SYSTEM)}
    st.selectbox(
        _("Group by"),
        list(codes),
        key=GROUP,
        format_func=lambda code: named.get(code) or _("By label {label}", label=code.removeprefix(BY_LABEL)),
        label_visibility="collapsed",
        width=_GROUP_WIDTH,
        on_change=_map_chosen,
    )
