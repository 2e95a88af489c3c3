"""State of the fleet page between refreshes: filters as in the address, order of the rows, ticked machines. Pure.

Invariants:
- The address holds codes, never labels, so that a link means the same in every language.
- Rows never move or vanish by themselves while the table is in use. They are sorted again when the visitor asks for it,
  and when the table was not touched for half a minute.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote

from dashboard.fleet.chosen_columns import falls_first
from dashboard.fleet.map_choice import is_grouping
from dashboard.fleet.rows import ALL, ATTENTION, COLUMNS
from dashboard.i18n.text import HEALTH, PRESENCE
from schemas.contract.topics import is_id
from schemas.database.chosen_columns import is_chosen_column
from schemas.database.queries.choices import is_choice, is_label
from schemas.database.queries.fleet_order import LABEL, is_sort_order
from schemas.database.queries.machines import Filters
from schemas.database.queries.tiles import READINGS

PAGE_SIZE: Final = 50
DEFAULT: Final = Filters()
MAP: Final = "map"
"""The map in the address; the table, as the default view, is not named."""

CHOSEN_MAX: Final = 20
"""Maximum number of systems, versions or labels in a filter."""

COLUMNS_MAX: Final = 4
"""Maximum number of labels with a column, and of other columns that a visitor chooses."""

_SEARCH_MAX: Final = 100
_PAGE_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class FleetView:
    """The part of the fleet that is shown: filters, page (from 1), or the map and what groups and colours its tiles.

    `columns`: keys of labels that have a column of their own. `readings`: codes of `schemas.database.chosen_columns`.
    """

    filters: Filters = DEFAULT
    number: int = 1
    map: bool = False
    group: str = ""
    columns: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    colour: str = ""

    def narrowed(self, filters: Filters) -> "FleetView":
        """Return the first page with other filters, table or map as before."""
        return replace(self, filters=filters, number=1)


@dataclass(frozen=True, slots=True)
class RowSnapshot:
    """The machines of a page in their order, the number of all matches, and the time of the sort.

    `newest_change`: that of the counts when the page was sorted.
    """

    view: FleetView
    names: tuple[str, ...]
    total: int
    at: int
    newest_change: int | None = None

    def is_outdated(self, newest_change: int | None) -> bool:
        """Return True if a machine went offline or stale since the page was sorted by severity."""
        return newest_change != self.newest_change and newest_change is not None and self.view.filters.by_severity


Find = Callable[[FleetView], tuple[tuple[str, ...], int]]


def parse(query: Mapping[str, str]) -> FleetView:
    """Return the view that an address names; invalid parts of it are ignored."""
    order = query.get("sort", "")
    filters = Filters(
        search=query.get("q", "")[:_SEARCH_MAX],
        presences=_known(query.get("status", ""), PRESENCE),
        healths=_known(query.get("health", ""), HEALTH),
        systems=_listed(query.get("os", ""), is_choice),
        versions=_listed(query.get("version", ""), is_choice),
        labels=_listed(query.get("label", ""), is_label),
        attention=query.get("need") == ATTENTION,
        order=order if is_sort_order(order) else DEFAULT.order,
        descending=query.get("dir") == "desc",
    )
    number = query.get("page", "")
    valid = number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= _PAGE_MAX
    on_map, group, colour = query.get("view") == MAP, query.get("group", ""), query.get("colour", "")
    return FleetView(
        filters,
        number=int(number[:9]) if valid else 1,
        map=on_map,
        group=group if on_map and is_grouping(group) else "",
        columns=_listed(query.get("columns", ""), is_id)[:COLUMNS_MAX],
        readings=_listed(query.get("readings", ""), is_chosen_column)[:COLUMNS_MAX],
        colour=colour if on_map and colour in READINGS else "",
    )


def address(view: FleetView) -> dict[str, str]:
    """Return the query of an address for this view, without default values."""
    filters = view.filters
    query = {
        "q": filters.search,
        "status": ",".join(filters.presences),
        "health": ",".join(filters.healths),
        "os": _list(filters.systems),
        "version": _list(filters.versions),
        "label": _list(filters.labels),
        "need": ATTENTION if filters.attention else "",
        "sort": "" if filters.order == DEFAULT.order else filters.order,
        "dir": "desc" if filters.descending else "",
        "page": str(view.number) if view.number > 1 else "",
        "view": MAP if view.map else "",
        "group": view.group if view.map else "",
        "colour": view.colour if view.map else "",
        "columns": _list(view.columns),
        "readings": _list(view.readings),
    }
    return {name: value for name, value in query.items() if value}


def exported(view: FleetView) -> dict[str, str]:
    """Return the query of an address for all machines that match, with the chosen readings, without page and map."""
    return address(FleetView(view.filters, readings=view.readings))


def press(filters: Filters, code: str) -> Filters:
    """Return the filters after a click on a card; a second click undoes the first."""
    if code == ALL:
        return replace(filters, presences=(), attention=False)
    if code == ATTENTION:
        return replace(filters, presences=(), healths=(), attention=not filters.attention)
    presences = set(filters.presences) ^ {code}
    return replace(filters, attention=False, presences=tuple(each for each in PRESENCE if each in presences))


def pick(filters: Filters, label: object) -> Filters:
    """Return the filters after a click on a label's value; a second click undoes the first."""
    if not isinstance(label, str) or not is_label(label):
        return filters
    if label in filters.labels:
        return without(filters, "labels", label)
    return replace(filters, labels=(*filters.labels, label)[-CHOSEN_MAX:])


def without(filters: Filters, field: str, value: str) -> Filters:
    """Return the filters without one value of a field."""
    if field == ATTENTION:
        return replace(filters, attention=False)
    kept: dict[str, Any] = {field: tuple(each for each in getattr(filters, field) if each != value)}
    return replace(filters, **kept)


def sort(filters: Filters, code: str) -> Filters:
    """Return the filters after a click on a column's header."""
    column = next((column for column in COLUMNS if column.sortable and column.code == code), None)
    chosen = isinstance(code, str) and (code.startswith(LABEL) or is_chosen_column(code)) and is_sort_order(code)
    if column is None and not chosen:
        return filters
    if filters.order == code:
        return replace(filters, descending=not filters.descending)
    falls = column.falls if column is not None else falls_first(code)
    return replace(filters, order=code, descending=falls)


def refreshed(
    snapshot: RowSnapshot | None, view: FleetView, find: Find, now: int, newest_change: int | None = None
) -> RowSnapshot:
    """Return the snapshot to show. While its page has room, new machines are appended."""
    if snapshot is not None and snapshot.view == view and len(snapshot.names) >= PAGE_SIZE:
        return snapshot
    names, total = find(view)
    if snapshot is None or snapshot.view != view:
        return RowSnapshot(view, names, total, now, newest_change)
    new = [name for name in names if name not in snapshot.names]
    joined = (*snapshot.names, *new)[:PAGE_SIZE]
    return replace(snapshot, names=joined, total=max(total, len(joined)))


def pages(total: int) -> int:
    """Return the number of pages for this number of machines."""
    return max(1, -(-total // PAGE_SIZE))


def _known(codes: str, known: Mapping[str, object]) -> tuple[str, ...]:
    wanted = codes.split(",")
    return tuple(code for code in known if code in wanted)


def _listed(codes: str, valid: Callable[[str], bool]) -> tuple[str, ...]:
    wanted = dict.fromkeys(unquote(code) for code in codes.split(","))
    return tuple(code for code in wanted if valid(code))[:CHOSEN_MAX]


def _list(texts: Sequence[str]) -> str:
    # a comma inside a text must not separate two texts
    return ",".join(each.replace("%", "%25").replace(",", "%2C") for each in texts)
