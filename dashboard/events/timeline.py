"""Events of several sources as one list, newest first, page by page. Pure, but for what the sources read.

Invariants:
- A page contains every event between its first and its last, whichever its source, and the next page begins where it
  ends: no event is on two pages, and none is left out, also if many happened in the same millisecond.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dashboard.events.event import Event, EventSource
from dashboard.page.page import PageContext
from schemas.database.events.event_queries import EventRange

_TEXT_MAX: Final = 100
_DIGITS_MAX: Final = 15


@dataclass(frozen=True, slots=True)
class EventPosition:
    """The place of an event in the list, in an address `at.kind.key`."""

    at: int
    kind: str
    key: int | str

    def __str__(self) -> str:
        return f"{self.at}.{self.kind}.{self.key}"

    @classmethod
    def of(cls, event: Event) -> "EventPosition":
        """Return the position of an event."""
        return cls(event.at, event.kind, event.key)

    @classmethod
    def parse(cls, text: str) -> "EventPosition | None":
        """Return the position that an address names; None if it names none."""
        at, _, rest = text.partition(".")
        kind, _, key = rest.partition(".")
        if not (_is_number(at) and kind and key and len(text) < _TEXT_MAX):
            return None
        return cls(int(at), kind, int(key) if _is_number(key) else key)


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events. `following`: where the next page begins; None on the last one."""

    events: tuple[Event, ...]
    following: EventPosition | None = None


def read_page(
    context: PageContext, sources: Sequence[EventSource], wanted: EventRange, after: EventPosition | None = None
) -> EventPage:
    """Return the events of these sources in a range, after a position, at most `wanted.limit`."""
    one_more = replace(wanted, limit=wanted.limit + 1)
    found = [source.find(context, rest_of(one_more, source, sources, after)) for source in sources]
    events = merged(found, sources)[: wanted.limit + 1]
    shown = events[: wanted.limit]
    return EventPage(tuple(shown), EventPosition.of(shown[-1]) if len(events) > len(shown) else None)


def rest_of(
    wanted: EventRange, source: EventSource, sources: Sequence[EventSource], after: EventPosition | None
) -> EventRange:
    """Return the part of a source's range that follows a position in the list of all sources."""
    if after is None or after.at >= wanted.end:
        return wanted
    place = next((each.order for each in sources if each.kind == after.kind), None)
    if place is None or source.order < place:
        return replace(wanted, end=after.at)
    if source.order > place:
        return replace(wanted, end=after.at + 1)
    return replace(wanted, end=after.at, below_key=after.key)


def merged(found: Iterable[Sequence[Event]], sources: Sequence[EventSource]) -> list[Event]:
    """Merge the sorted events of several sources: newest first, at the same time in the order of their sources."""
    places = {source.kind: source.order for source in sources}
    return list(heapq.merge(*found, key=lambda event: (-event.at, places[event.kind])))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX
