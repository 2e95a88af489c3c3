"""The contract of a source of events: one file in `sources/` that exposes `SOURCE`. Nothing else is edited to add one.

SOURCE = EventSource("presence", marked("Presence"), order=0, find=find)

def find(context: PageContext, wanted: EventRange) -> list[Event]: ...

Invariants:
- `find` returns at most `wanted.limit` events, sorted by time and then by key, both descending. Times are milliseconds.
- The text of an event is not escaped: the widgets do that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType

from dashboard.auth.users import UserRole
from dashboard.i18n.language import Marked
from dashboard.i18n.text import Word
from dashboard.page.page import EVERYONE, PageContext, modules_of
from schemas.database.events.event_queries import EventRange


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `key` is unique among those of its kind, and comparable.

    `lasts`: it has a duration, from `at` to `ended_at`, or until now if that is None. `machine`: id of the machine that
    it is about; empty if it is about several, whose number `machines` may tell. `page` and `query`: the page with its
    details, if there is one.
    """

    kind: str
    key: int | str
    at: int
    word: Word
    title: str
    detail: str = ""
    who: str = ""
    ended_at: int | None = None
    lasts: bool = False
    machine: str = ""
    hostname: str = ""
    machines: str = ""
    page: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventSource:
    """A kind of events. `order`: place among the kinds, unique; of events at the same time the lowest comes first.

    `roles`: who may see it. `of_machines`: a machine's page has it.
    """

    kind: str
    title: Marked
    order: int
    find: Callable[[PageContext, EventRange], list[Event]]
    roles: frozenset[UserRole] = EVERYONE
    of_machines: bool = True


@cache
def discover(package: ModuleType) -> tuple[EventSource, ...]:
    """Return the sources of a package, by their order. Cached: modules are searched once per process."""
    return tuple(sorted((module.SOURCE for module in modules_of(package)), key=lambda source: source.order))
