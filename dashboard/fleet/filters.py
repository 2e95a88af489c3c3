"""Where in the fleet a visitor is, and the row of filters that says and changes it.

Invariants:
- The place is in the session and in the address, and both say the same after every run.
- A visitor who comes back finds the filters as they were. A run may be cut short by the next before the browser has
  anything of it, so the address and the widgets are told what they are until the browser shows that it knows.
- What machines say is only ever an option of a multiselect, which draws text as text.
"""

from dataclasses import replace
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.fleet import state
from dashboard.fleet.state import CHOSEN_MAX, MAP, Place
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.widgets import markup, search_box
from schemas.database.queries import choices
from schemas.database.queries.choices import Choices
from schemas.database.queries.machines import Filters
from schemas.database.queries.tiles import BY_LABEL, BY_SYSTEM

_PLACE: Final = "fleet.place"
_SEARCH: Final = "fleet.search"
_HEALTHS: Final = "fleet.healths"
_OUTDATED: Final = "fleet.outdated"
_COMING: Final = "fleet.coming"
_DRAWN: Final = "fleet.drawn"
_LEFT: Final = "fleet.left"
_CHOICES: Final = "fleet.choices"
_CHOICES_SECONDS: Final = 60
_choices = last_good.cached(choices.list_choices, seconds=_CHOICES_SECONDS)

_VIEW: Final = "fleet.view"
_GROUP: Final = "fleet.group"
_GROUP_WIDTH: Final = 230
_TABLE: Final = "table"
_VIEWS: Final = {_TABLE: marked("Table"), MAP: marked("Map")}

_SYSTEM: Final = marked("Operating system")
_MORE: Final = {"systems": _SYSTEM, "versions": marked("Agent version"), "labels": marked("Label")}
"""The fields of the filters that are behind "Filters", with what the page calls them."""


def arrive(context: PageContext) -> None:
    """Take the filters from the address when it is new; coming back from another page, keep those of before.

    An address that was left is not new: the browser has not heard of the one after it.
    """
    query = dict(st.query_params)
    before = st.session_state.get(_PLACE)
    coming = context.arrived or st.session_state.get(_COMING, False)
    left = None if context.arrived else st.session_state.get(_LEFT)
    known = before is not None and query in (state.address(before), left)
    if before is None or not (known or (coming and not query)):
        before = state.parse(query)
        coming = True
    for key, value in _widgets(before).items():
        if coming or key not in st.session_state:
            st.session_state[key] = value
    st.session_state.update({_COMING: coming, _DRAWN: True})
    go(before)


def settle() -> None:
    """To be called by what refreshes: the browser has answered what was drawn, unless this is the same run."""
    drawn = st.session_state.pop(_DRAWN, False)
    if not drawn and dict(st.query_params) == state.address(place()):
        st.session_state.update({_COMING: False, _LEFT: None})


def draw(context: PageContext) -> None:
    """The row of filters. It stands outside what refreshes, so that nobody's typing is disturbed."""
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_filters"):
        search_box.draw(_SEARCH, _("Search name, host, system, label"), _searched)
        _popover(context)
        with st.container(horizontal=True, vertical_alignment="center", width="content", key="fleet_healths"):
            st.html(markup.note(_("Health")), width="content")
            st.pills(
                _("Health"),
                list(text.HEALTH),
                key=_HEALTHS,
                selection_mode="multi",
                format_func=lambda code: text.health(code).label,
                label_visibility="collapsed",
                on_change=_healths_chosen,
            )


def head(context: PageContext, title: str) -> None:
    """The page's heading, and beside it which view of the fleet is shown and what groups the map's tiles."""
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_head"):
        st.html(markup.heading(title, 1), width="content")
        st.space("stretch")
        if place().map:
            _grouping(context)
        st.segmented_control(
            _("View"),
            list(_VIEWS),
            key=_VIEW,
            required=True,
            format_func=lambda code: _(_VIEWS[code]),
            label_visibility="collapsed",
            on_change=_view_chosen,
        )


def place() -> Place:
    """Where the visitor is."""
    found: Place = st.session_state[_PLACE]
    return found


def go(wanted: Place) -> None:
    """Be at a place, and let the address say so."""
    st.session_state[_PLACE] = wanted
    query, shown = state.address(wanted), dict(st.query_params)
    if shown != query:
        st.session_state.update({_LEFT: shown, _DRAWN: True})
        st.query_params.from_dict(query)


def narrow(filters: Filters) -> None:
    """New filters from inside what refreshes: the row, which is drawn outside it, must follow."""
    st.session_state[_OUTDATED] = True
    st.session_state[_HEALTHS] = list(filters.healths)
    go(place().narrowed(filters))


def clear() -> None:
    """All machines again, in the order as it is."""
    before = place().filters
    filters = Filters(order=before.order, descending=before.descending)
    narrow(filters)
    st.session_state.update(_widgets(place()))


def clear_button(key: str) -> None:
    """The way back to all machines."""
    st.button(_("Clear filters"), key=key, on_click=clear)


def outdated() -> bool:
    """Whether the filters changed elsewhere since this was asked last: the row must be drawn again."""
    return bool(st.session_state.pop(_OUTDATED, False))


def _grouping(context: PageContext) -> None:
    keys = dict.fromkeys(label.partition("=")[0] for label in _offered(context).labels)
    codes = dict.fromkeys(("", BY_SYSTEM, *(f"{BY_LABEL}{key}" for key in keys), place().group))
    named = {"": _("Not grouped"), BY_SYSTEM: _(_SYSTEM)}
    st.selectbox(
        _("Group by"),
        list(codes),
        key=_GROUP,
        format_func=lambda code: named.get(code) or _("By label {label}", label=code.removeprefix(BY_LABEL)),
        label_visibility="collapsed",
        width=_GROUP_WIDTH,
        on_change=_group_chosen,
    )


def _offered(context: PageContext) -> Choices:
    return last_good.read(context, _CHOICES, partial(_choices, context.engine, context.org)) or Choices()


def _popover(context: PageContext) -> None:
    filters = place().filters
    active = sum(len(getattr(filters, field)) for field in _MORE)
    offered = _offered(context)
    label = _("Filters ({n})", n=active) if active else _("Filters")
    with st.popover(label, icon=":material/filter_list:", key="fleet_more"):
        for field, name in _MORE.items():
            _multiselect(field, name, getattr(offered, field), getattr(filters, field))
        if active:
            clear_button("fleet_clear")


def _multiselect(field: str, name: Marked, offered: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    """What is chosen stays an option when no machine has it any more, so that it can be taken back."""
    st.multiselect(
        _(name),
        list(dict.fromkeys((*offered, *chosen))),
        key=_key(field),
        placeholder=_("Any"),
        max_selections=CHOSEN_MAX,
        select_all=False,
        on_change=partial(_chosen, field),
    )


def _key(field: str) -> str:
    return f"fleet.{field}"


def _widgets(place: Place) -> dict[str, object]:
    """What the widgets show at this place, by their keys."""
    filters, view = place.filters, {_VIEW: MAP if place.map else _TABLE, _GROUP: place.group}
    more = {_key(field): list(getattr(filters, field)) for field in _MORE}
    return {_SEARCH: filters.search, _HEALTHS: list(filters.healths), **more, **view}


def _view_chosen() -> None:
    go(replace(place(), map=st.session_state[_VIEW] == MAP, number=1))


def _group_chosen() -> None:
    go(replace(place(), group=st.session_state[_GROUP]))


def _searched() -> None:
    go(place().narrowed(replace(place().filters, search=st.session_state[_SEARCH])))


def _healths_chosen() -> None:
    chosen = st.session_state[_HEALTHS]
    healths = tuple(code for code in text.HEALTH if code in chosen)
    go(place().narrowed(replace(place().filters, healths=healths)))


def _chosen(field: str) -> None:
    chosen: dict[str, Any] = {field: tuple(st.session_state[_key(field)])}
    go(place().narrowed(replace(place().filters, **chosen)))
