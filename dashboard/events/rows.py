"""Events as rows of a table. Pure."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final
from urllib.parse import urlencode

from dashboard.events.event import Event
from dashboard.events.timeline import EventPosition
from dashboard.i18n import text
from dashboard.i18n.language import _, marked
from dashboard.widgets import cells
from schemas.fleet.history import DAY, HOUR, MINUTE
from schemas.fleet.machine_name import machine_name

MACHINE_PATH: Final = "machine"
DETAILS: Final = "details."
"""Starts the id that a link to an event's details opens; the position of the event follows."""

_WHEN: Final = ("when", marked("Time"))
_STATE: Final = ("state", marked("State"))
_EVENT: Final = ("event", marked("Event"))
_LASTED: Final = ("lasted", marked("Duration"))
_BY: Final = ("by", marked("By"))
_DETAILS: Final = ("more", marked("Details"))
OF_A_MACHINE: Final[cells.Heads] = (_WHEN, _STATE, _EVENT, _LASTED, _BY, _DETAILS)
OF_A_FLEET: Final[cells.Heads] = (_WHEN, _STATE, _EVENT, ("machine", marked("Machine")), _LASTED, _BY, _DETAILS)

_MARGIN_MIN: Final = 15 * MINUTE
_MARGIN_MAX: Final = 6 * HOUR
_LENGTH_MAX: Final = DAY


def window(event: Event, now: int) -> tuple[int, int]:
    """Return the time range (milliseconds) in which the charts show an event: at most its first day, with margins."""
    ended = event.ended_at if event.ended_at is not None or not event.lasts else now
    length = min(max(0, (ended or event.at) - event.at), _LENGTH_MAX)
    margin = min(max(length // 4, _MARGIN_MIN), _MARGIN_MAX)
    return event.at - margin, min(event.at + length + margin, max(now, event.at + 1))


def machine_query(event: Event, now: int) -> dict[str, str]:
    """Return the query of the machine page's address that shows an event in the charts."""
    start, end = window(event, now)
    return {"id": event.machine, "from": str(start), "to": str(end)}


def of_a_machine(found: Sequence[Event], now: int, zone: tzinfo) -> list[dict[str, Any]]:
    """Return a row for each event of a machine; the row opens its time, its link its details."""
    return [
        cells.row(str(EventPosition.of(event)), _row_address(event, now), *_start(event, now, zone), *_rest(event, now))
        for event in found
    ]


def of_a_fleet(found: Sequence[Event], now: int, zone: tzinfo) -> list[dict[str, Any]]:
    """Return a row for each event of a fleet, with the machine that it is about."""
    return [
        cells.row(
            str(EventPosition.of(event)),
            _row_address(event, now),
            *_start(event, now, zone),
            cells.plain(machine_name(event.machine, event.hostname) if event.machine else event.machines),
            *_rest(event, now),
        )
        for event in found
    ]


def _start(event: Event, now: int, zone: tzinfo) -> list[Mapping[str, Any]]:
    when = cells.plain(text.short_moment(event.at, now, zone), text.moment(event.at, now, zone))
    leads = event.machine or event.page
    said = " · ".join(filter(None, (event.title, event.detail)))
    return [when, cells.chip(event.word), cells.name(event.title, event.detail) if leads else cells.plain(said)]


def _rest(event: Event, now: int) -> list[Mapping[str, Any]]:
    shown = _("Details") if event.page else ""
    link = cells.link(shown, _address(event.page, event.query), f"{DETAILS}{EventPosition.of(event)}")
    return [cells.plain(lasted(event, now)), cells.plain(event.who), link]


def lasted(event: Event, now: int) -> str:
    """Return the duration of an event, with a mark while it lasts; empty for one without a duration."""
    if not event.lasts:
        return ""
    length = text.duration(max(0, (event.ended_at or now) - event.at) / 1000)
    return length if event.ended_at is not None else _("{length}, ongoing", length=length)


def _row_address(event: Event, now: int) -> str:
    return _address(MACHINE_PATH, machine_query(event, now)) if event.machine else _address(event.page, event.query)


def _address(page: str, query: Mapping[str, str]) -> str:
    return f"/{page}?{urlencode(query)}" if query else f"/{page}"
