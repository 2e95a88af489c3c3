"""Changes of facts: a service failed, a container was restarted, a package updated, a disk appeared."""

from typing import Final

from dashboard.events.event import Event, EventSource
from dashboard.facts import texts
from dashboard.i18n import text
from dashboard.i18n.language import marked
from dashboard.page.page import PageContext
from schemas.database.events.event_queries import EventRange
from schemas.database.events.fact_event_queries import list_fact_events

KIND: Final = "facts"


def find(context: PageContext, wanted: EventRange) -> list[Event]:
    """Return the changes of the range."""
    return [
        Event(
            kind=KIND,
            key=row.id,
            at=row.at,
            word=texts.change_word(row),
            title=f"{texts.singular(row.kind)} {row.key}" if row.key else texts.title(row.kind),
            detail=" · ".join(filter(None, (texts.change_detail(row), _times(row.times)))),
            machine=row.name,
            hostname=row.hostname or "",
        )
        for row in list_fact_events(context.engine, context.org, wanted)
    ]


def _times(times: int) -> str:
    return text.count(times) if times > 1 else ""


SOURCE = EventSource(KIND, marked("Devices and services"), order=15, find=find)
