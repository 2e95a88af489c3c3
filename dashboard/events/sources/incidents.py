"""Incidents, which concern several machines or the system."""

from typing import Final

from dashboard.events.event import Event, EventSource
from dashboard.i18n.language import _, marked, pgettext
from dashboard.i18n.text import Word
from dashboard.page.page import PageContext
from dashboard.problems.incident_text import incident_statement
from schemas.database.events.event_queries import EventRange, list_incident_events

_PROBLEMS: Final = "problems"


def find(context: PageContext, wanted: EventRange) -> list[Event]:
    """Return the incidents of the range; of one machine those that name it."""
    return [
        Event(
            kind=SOURCE.kind,
            key=row.id,
            at=row.started_at,
            word=Word(pgettext("incident", "Open"), "bad") if row.ended_at is None else Word(_("Resolved"), "plain"),
            title=incident_statement(row.kind, row.details or {}),
            ended_at=row.ended_at,
            lasts=True,
            page=_PROBLEMS,
            query={"id": f"incident-{row.id}"},
        )
        for row in list_incident_events(context.engine, context.org, wanted)
    ]


SOURCE = EventSource("incident", marked("Incidents"), order=20, find=find)
