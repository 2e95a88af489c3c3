"""Alerts, at the time when their condition began."""

from dashboard.events.event import Event, EventSource
from dashboard.i18n.external_texts import translated_details
from dashboard.i18n.language import marked
from dashboard.page.page import PageContext
from dashboard.problems.rows import severity_word
from schemas.database.events.event_queries import EventRange, list_alert_events


def find(context: PageContext, wanted: EventRange) -> list[Event]:
    """Return the alerts of the range."""
    return [
        Event(
            kind=SOURCE.kind,
            key=row.id,
            at=row.started_at,
            word=severity_word(row.severity),
            title=translated_details(row.title),
            detail=translated_details(row.detail),
            ended_at=row.ended_at,
            lasts=True,
            machine=row.name,
            hostname=row.hostname or "",
        )
        for row in list_alert_events(context.engine, context.org, wanted)
    ]


SOURCE = EventSource("alert", marked("Alerts"), order=10, find=find)
