"""Changes of the organisation's settings and credentials; of one machine its retirement and its return."""

from collections.abc import Mapping
from typing import Final

from dashboard.activity.rows import who
from dashboard.events.event import Event, EventSource
from dashboard.i18n.language import Marked, _, marked
from dashboard.i18n.text import Word
from dashboard.page.page import PageContext
from schemas.database.events.event_queries import EventRange, list_change_events

KINDS: Final[Mapping[str, Marked]] = {
    "configure-org": marked("Settings changed"),
    "add-token": marked("Token created"),
    "revoke-token": marked("Token revoked"),
    "add-principal": marked("API client added"),
    "rotate-principal": marked("API client's secret rotated"),
    "revoke-principal": marked("API client revoked"),
    "retire-machine": marked("Machine retired"),
    "reinstate-machine": marked("Machine returned to service"),
    "change-keys": marked("Signing keys changed"),
    "clear-dead-letters": marked("Rejected messages cleared"),
    "set-rule": marked("Alert rule changed"),
    "delete-rule": marked("Alert rule removed"),
    "acknowledge": marked("Alerts acknowledged"),
    "unacknowledge": marked("Acknowledgement withdrawn"),
    "silence": marked("Silence added"),
    "end-silence": marked("Silence ended"),
    "cancel": marked("Commands cancelled"),
}
"""The title of a change, by the kind of its request; a kind that a later version added shows as it is."""

_OF_A_MACHINE: Final = ("retire-machine", "reinstate-machine")


def find(context: PageContext, wanted: EventRange) -> list[Event]:
    """Return the changes of the range, also those that were refused."""
    return [
        Event(
            kind=SOURCE.kind,
            key=row.id,
            at=row.created_at,
            word=Word(_("Done"), "good") if row.state == "accepted" else Word(_("Refused"), "bad"),
            title=_(KINDS.get(row.kind, row.kind)),
            detail="" if wanted.machine else row.detail,
            who=who(row.actor, row.principal),
            machine=row.detail if row.kind in _OF_A_MACHINE and row.state == "accepted" else "",
        )
        for row in list_change_events(context.engine, context.org, wanted)
    ]


SOURCE = EventSource("settings", marked("Settings"), order=40, find=find)
