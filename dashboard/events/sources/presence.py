"""Presence transitions: when a machine went offline, why, and for how long."""

from typing import Final

from dashboard.events.event import Event, EventSource
from dashboard.i18n import text
from dashboard.i18n.language import marked
from dashboard.page.page import PageContext
from schemas.database.events.event_queries import EventRange, list_presence_events

KIND: Final = "presence"


def find(context: PageContext, wanted: EventRange) -> list[Event]:
    """Return the transitions of the range."""
    return [
        Event(
            kind=KIND,
            key=row.id,
            at=row.at,
            word=text.presence(row.after),
            title=text.transition_reason(row.reason, row.times) or text.presence(row.after).label,
            ended_at=row.ended_at,
            lasts=True,
            machine=row.name,
            hostname=row.hostname or "",
        )
        for row in list_presence_events(context.engine, context.org, wanted)
    ]


SOURCE = EventSource(KIND, marked("Presence"), order=0, find=find)
