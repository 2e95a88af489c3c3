"""The current view of the fleet, and the row of filters that shows and changes it.

Invariants:
- The view is in the session and in the address, and both agree after every run.
- A visitor who returns finds the filters unchanged. A run may be cut short by the next one before the browser received
  anything of it, so address and widgets are sent again until the browser shows that it has them.
- Text from machines is only ever an option of a multiselect, which draws it as text.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.fleet import chosen_columns, state
from dashboard.fleet.rows import ATTENTION
from dashboard.fleet.state import CHOSEN_MAX, MAP, FleetView
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.page import address, last_good
from dashboard.page.page import PageContext
from dashboard.page.shared_results import SharedResult
from dashboard.widgets import markup, search_box
from schemas.database.queries import choices
from schemas.database.queries.choices import Choices
from schemas.database.queries.machines import Filters
from schemas.database.series import fleet_columns
from schemas.database.series.fleet_columns import ColumnChoice

_STATE: Final = "fleet.state"
_SEARCH: Final = "fleet.search"
_HEALTHS: Final = "fleet.healths"
_OUTDATED: Final = "fleet.outdated"
_COMING: Final = "fleet.coming"
"""The visitor has just come: the browser does not have the widgets' values yet."""
_DRAWN: Final = "fleet.drawn"
"""This run has drawn the page: an address of the same run is no answer of the browser."""
_CHOICES: Final = "fleet.choices"
_CHOICES_SECONDS: Final = 60
_choices = SharedResult(choices.list_choices, seconds=_CHOICES_SECONDS)
_columns = SharedResult(fleet_columns.list_column_choices, seconds=_CHOICES_SECONDS)

VIEW, GROUP, COLOUR = "fleet.view", "fleet.group", "fleet.colour"
"""Keys of the widgets that `view_switch` draws."""

_COLUMNS: Final = "fleet.columns"
_READINGS: Final = "fleet.readings"
_CHOSEN: Final = "fleet.columns.chosen"
"""The visitor has chosen columns in this session, which the browser then remembers."""
_OFFERED: Final = "fleet.columns.offered"
TABLE: Final = "table"

SYSTEM: Final = marked("Operating system")
_MORE: Final = {"systems": SYSTEM, "versions": marked("Agent version"), "labels": marked("Label")}
"""The fields of the filters that are in the popover, with their labels."""


def sync_from_address(context: PageContext) -> None:
    """Take the view from the address if that is new; a visitor who returns without a query keeps the former view."""
    query = address.read()
    before = st.session_state.get(_STATE)
    coming = context.arrived or st.session_state.get(_COMING, False)
    known = before is not None and query == state.address(before)
    if before is None or not (known or (coming and not query)):
        arriving = before is None and not query
        before = state.parse(chosen_columns.remembered(_cookie()) if arriving else query)
        coming = True
    for key, value in _widgets(before).items():
        if coming or key not in st.session_state:
            st.session_state[key] = value
    st.session_state.update({_COMING: coming, _DRAWN: True})
    set_view(before)


def acknowledge_address() -> None:
    """Record, in what refreshes, that the browser has what was drawn, unless this is the same run."""
    drawn = st.session_state.pop(_DRAWN, False)
    if not drawn and dict(st.query_params) == state.address(current()):
        st.session_state[_COMING] = False
        address.forget()


def current() -> FleetView:
    """Return the current view."""
    found: FleetView = st.session_state[_STATE]
    return found


def set_view(view: FleetView) -> None:
    """Change the view, and the address with it."""
    st.session_state[_STATE] = view
    if address.change(state.address(view)):
        st.session_state[_DRAWN] = True


def set_filters(filters: Filters) -> None:
    """Change the filters from inside what refreshes: the row of filters, which is outside, is drawn again."""
    st.session_state[_OUTDATED] = True
    st.session_state[_HEALTHS] = list(filters.healths)
    set_view(current().narrowed(filters))


def show_view(view: FleetView) -> None:
    """Show another view, with the widgets that belong to it."""
    st.session_state.update({_OUTDATED: True, **_widgets(view)})
    set_view(view)


def clear() -> None:
    """Show all machines, in the same order."""
    before = current().filters
    set_filters(Filters(order=before.order, descending=before.descending))
    st.session_state.update(_widgets(current()))


def clear_button(key: str) -> None:
    """Draw the button that clears the filters."""
    st.button(_("Clear filters"), key=key, on_click=clear)


def pop_outdated() -> bool:
    """Return True if the row of filters must be drawn again; the next call returns False."""
    return bool(st.session_state.pop(_OUTDATED, False))


def draw(context: PageContext) -> None:
    """Draw the row of filters. It is outside what refreshes, so that a refresh does not disturb typing."""
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_filters"):
        search = partial(_apply, _SEARCH, "search")
        search_box.draw(_SEARCH, _("Search name, host, system, label=value"), search)
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
    _chips()


def offered(context: PageContext) -> Choices:
    """Return the values that the fleet can be filtered by; none while it cannot be read."""
    return last_good.read(context, _CHOICES, partial(_choices, context.engine, context.org)) or Choices()


def column_choices(context: PageContext) -> Mapping[str, ColumnChoice]:
    """Return the readings and lists that can have a column, by code; none while they cannot be read."""
    found = last_good.read(context, _OFFERED, partial(_columns, context.engine, context.org)) or ()
    return {choice.code: choice for choice in found}


def to_remember() -> str:
    """Return the cookie with the chosen columns; empty while the visitor has chosen none in this session."""
    view = current()
    return chosen_columns.written(view.columns, view.readings) if st.session_state.get(_CHOSEN) else ""


def _popover(context: PageContext) -> None:
    filters, found = current().filters, offered(context)
    active = sum(len(getattr(filters, field)) for field in _MORE)
    label = _("Filters ({n})", n=active) if active else _("Filters")
    with st.popover(label, icon=":material/filter_list:", key="fleet_more"):
        for field, name in _MORE.items():
            # a chosen value stays an option when no machine has it any more, so that it can be removed
            options = list(dict.fromkeys((*getattr(found, field), *getattr(filters, field))))
            st.multiselect(
                _(name),
                options,
                key=_key(field),
                placeholder=_("Any"),
                max_selections=CHOSEN_MAX,
                select_all=False,
                on_change=partial(_apply, _key(field), field),
            )
        keys = dict.fromkeys((*(label.partition("=")[0] for label in found.labels), *current().columns))
        _columns_of(_("Labels with a column"), _COLUMNS, list(keys), str)
        offered_columns = column_choices(context)
        codes = dict.fromkeys((*offered_columns, *current().readings))
        title = partial(chosen_columns.title, choices=offered_columns)
        _columns_of(_("Readings and lists with a column"), _READINGS, list(codes), title)
        if active:
            clear_button("fleet_clear")


def _columns_of(label: str, key: str, options: list[str], title: Callable[[str], str]) -> None:
    """Draw a choice of columns."""
    st.multiselect(
        label,
        options,
        key=key,
        format_func=title,
        placeholder=_("None"),
        max_selections=state.COLUMNS_MAX,
        select_all=False,
        on_change=_columns_chosen,
    )


def _columns_chosen() -> None:
    columns, readings = (tuple(st.session_state[key]) for key in (_COLUMNS, _READINGS))
    st.session_state[_CHOSEN] = True
    set_view(replace(current(), columns=columns, readings=readings))


def _cookie() -> str:
    return str(st.context.cookies.get(chosen_columns.COOKIE, ""))


def _chips() -> None:
    """Draw a button for each value that narrows the fleet; a click removes it. A button is known by its value."""
    filters = current().filters
    chosen = [(field, value, value) for field in _MORE for value in getattr(filters, field)]
    chosen += [("presences", code, text.presence(code).label) for code in filters.presences]
    if filters.attention:
        chosen.append((ATTENTION, ATTENTION, _("Needs attention")))
    if not chosen:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="fleet_chips"):
        for field, value, label in chosen:
            st.button(
                markup.plain(label.replace("=", ": ", 1) if field == "labels" else label),
                icon=":material/close:",
                help=_("Remove this filter"),
                key=f"fleet.chip.{field}.{value}",
                on_click=partial(_remove, field, value),
            )


def _remove(field: str, value: str) -> None:
    view = current()
    show_view(view.narrowed(state.without(view.filters, field, value)))


def _key(field: str) -> str:
    return f"fleet.{field}"


def _widgets(view: FleetView) -> dict[str, object]:
    """Return the values of the widgets for a view, by key."""
    filters = view.filters
    more = {_key(field): list(getattr(filters, field)) for field in _MORE}
    shown = {VIEW: MAP if view.map else TABLE, GROUP: view.group, COLOUR: view.colour}
    columns = {_COLUMNS: list(view.columns), _READINGS: list(view.readings)}
    return {_SEARCH: filters.search, _HEALTHS: list(filters.healths), **more, **shown, **columns}


def _apply(key: str, field: str) -> None:
    """Take the value of a widget into a field of the filters."""
    chosen = st.session_state[key]
    change: dict[str, Any] = {field: chosen if isinstance(chosen, str) else tuple(chosen)}
    set_view(current().narrowed(replace(current().filters, **change)))


def _healths_chosen() -> None:
    chosen = st.session_state[_HEALTHS]
    healths = tuple(code for code in text.HEALTH if code in chosen)
    set_view(current().narrowed(replace(current().filters, healths=healths)))
