"""What the fleet page remembers between two refreshes: its filters, as the address spells them, and its rows' order.

Invariants:
- The address holds codes, never what the page calls them, so that a link means the same in every language.
- Rows on the screen never move or vanish by themselves while somebody uses the table. What the visitor does makes a new
  order, and so does the page when nobody has touched the table for half a minute.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from dashboard.fleet.rows import ALL, ATTENTION, ATTENTION_HEALTHS, COLUMNS
from dashboard.i18n.text import HEALTH, PRESENCE
from schemas.contract.topics import is_id
from schemas.database.queries.choices import is_choice, is_label
from schemas.database.queries.machines import SELECTION_MAX, SORT_ORDERS, Filters
from schemas.database.queries.tiles import BY_LABEL, BY_SYSTEM

PAGE_SIZE: Final = 50
DEFAULT: Final = Filters()
MAP: Final = "map"
"""What an address calls the view with a tile for each machine; the table is not named."""

CHOSEN_MAX: Final = 20
"""How many systems, versions or labels the fleet is narrowed to at once."""

_SEARCH_MAX: Final = 100
_PAGE_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the fleet a visitor is: the filters, the page, counted from 1, or the map and what groups its tiles."""

    filters: Filters = DEFAULT
    number: int = 1
    map: bool = False
    group: str = ""

    def narrowed(self, filters: Filters) -> "Place":
        """Where other filters lead: to the first page, in the same view."""
        return replace(self, filters=filters, number=1)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The machines of a page in the order in which they were found, when, and how many match in all."""

    place: Place
    names: tuple[str, ...]
    total: int
    at: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The machines that are ticked, by id. A new `revision` makes the browser forget what was ticked before it."""

    revision: int = 0
    names: tuple[str, ...] = ()

    def ticked(self, said: object) -> "Selection":
        """The selection after what the browser says. What is of another revision or makes no sense changes nothing."""
        if not isinstance(said, Mapping) or said.get("revision") != self.revision:
            return self
        changes = said.get("changes")
        if not isinstance(changes, Mapping):
            return self
        known = dict.fromkeys(self.names)
        for name, on in changes.items():
            if on is True and isinstance(name, str) and is_id(name):
                known.setdefault(name)
            elif on is False:
                known.pop(name, None)
        return replace(self, names=tuple(known)[:SELECTION_MAX])

    def set(self, names: Sequence[str]) -> "Selection":
        """Another selection, by something else than ticks."""
        return Selection(self.revision + 1, tuple(names))


Find = Callable[[Place], tuple[tuple[str, ...], int]]


def parse(query: Mapping[str, str]) -> Place:
    """The place that an address names; what it names wrongly is as if it were not there."""
    order = query.get("sort", "")
    filters = Filters(
        search=query.get("q", "")[:_SEARCH_MAX],
        presences=_known(query.get("status", ""), PRESENCE),
        healths=_known(query.get("health", ""), HEALTH),
        systems=_listed(query.get("os", ""), is_choice),
        versions=_listed(query.get("version", ""), is_choice),
        labels=_listed(query.get("label", ""), is_label),
        order=order if order in SORT_ORDERS else DEFAULT.order,
        descending=query.get("dir") == "desc",
    )
    number = query.get("page", "")
    valid = number.isascii() and number.isdigit() and 1 <= int(number[:9]) <= _PAGE_MAX
    on_map, group = query.get("view") == MAP, query.get("group", "")
    return Place(filters, int(number[:9]) if valid else 1, on_map, group if on_map and is_grouping(group) else "")


def address(place: Place) -> dict[str, str]:
    """The query of an address for this place; what is as usual is left out."""
    filters = place.filters
    query = {
        "q": filters.search,
        "status": ",".join(filters.presences),
        "health": ",".join(filters.healths),
        "os": _list(filters.systems),
        "version": _list(filters.versions),
        "label": _list(filters.labels),
        "sort": "" if filters.order == DEFAULT.order else filters.order,
        "dir": "desc" if filters.descending else "",
        "page": str(place.number) if place.number > 1 else "",
        "view": MAP if place.map else "",
        "group": place.group if place.map else "",
    }
    return {name: value for name, value in query.items() if value}


def exported(place: Place) -> dict[str, str]:
    """The query of an address for all machines of this place, whichever page or view of them is shown."""
    return address(Place(place.filters))


def is_grouping(code: str) -> bool:
    """Whether the map's tiles can be grouped by this."""
    return code == BY_SYSTEM or (code.startswith(BY_LABEL) and is_id(code.removeprefix(BY_LABEL)))


def press(filters: Filters, code: str) -> Filters:
    """The filters after a click on one of the cards; a second click takes the first back."""
    if code == ALL:
        return replace(filters, presences=(), healths=())
    if code == ATTENTION:
        chosen = set(filters.healths) == set(ATTENTION_HEALTHS)
        return replace(filters, healths=() if chosen else ATTENTION_HEALTHS)
    return replace(filters, presences=_toggled(filters.presences, code, PRESENCE))


def sort(filters: Filters, code: str) -> Filters:
    """The filters after a click on a column's header."""
    column = next((column for column in COLUMNS if column.sortable and column.code == code), None)
    if column is None:
        return filters
    if filters.order == code:
        return replace(filters, descending=not filters.descending)
    return replace(filters, order=code, descending=column.falls)


def refreshed(snapshot: Snapshot | None, place: Place, find: Find, now: int) -> Snapshot:
    """The snapshot to show for a place. While its page has room, machines that appear join at its end."""
    if snapshot is not None and snapshot.place == place and len(snapshot.names) >= PAGE_SIZE:
        return snapshot
    names, total = find(place)
    if snapshot is None or snapshot.place != place:
        return Snapshot(place, names, total, now)
    new = [name for name in names if name not in snapshot.names]
    joined = (*snapshot.names, *new)[:PAGE_SIZE]
    return Snapshot(place, joined, max(total, len(joined)), snapshot.at)


def pages(total: int) -> int:
    """How many pages so many machines fill."""
    return max(1, -(-total // PAGE_SIZE))


def _known(codes: str, known: Mapping[str, object]) -> tuple[str, ...]:
    wanted = codes.split(",")
    return tuple(code for code in known if code in wanted)


def _listed(codes: str, valid: Callable[[str], bool]) -> tuple[str, ...]:
    wanted = dict.fromkeys(unquote(code) for code in codes.split(","))
    return tuple(code for code in wanted if valid(code))[:CHOSEN_MAX]


def _list(texts: Sequence[str]) -> str:
    """Texts as one; a comma in one of them is none between two."""
    return ",".join(each.replace("%", "%25").replace(",", "%2C") for each in texts)


def _toggled(chosen: Sequence[str], code: str, known: Mapping[str, object]) -> tuple[str, ...]:
    wanted = set(chosen) ^ {code}
    return tuple(each for each in known if each in wanted)
