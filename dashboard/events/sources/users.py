"""Changes of the organisation's users and API tokens, for admins."""

from collections.abc import Mapping
from typing import Final

from dashboard.auth.users import UserRole
from dashboard.events.event import Event, EventSource
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.i18n.text import Word
from dashboard.page.page import ROLES, PageContext
from schemas.database.events.event_queries import EventRange

KINDS: Final[Mapping[str, Marked]] = {
    "add-person": marked("User added"),
    "set-role": marked("User's role changed"),
    "set-password": marked("User's password reset"),
    "sign-out": marked("User signed out everywhere"),
    "remove-person": marked("User removed"),
    "add-second-factor": marked("Second factor added"),
    "remove-second-factor": marked("Second factor removed"),
    "reset-second-factor": marked("Second factor reset"),
    "new-recovery-codes": marked("New recovery codes"),
    "add-api-token": marked("API token created"),
    "revoke-api-token": marked("API token revoked"),
}
"""The title of a change, by the kind of its record; a kind that a later version added shows as it is."""


def find(context: PageContext, wanted: EventRange) -> list[Event]:
    """Return the changes of the range."""
    if context.users is None or wanted.machine:
        return []
    return [
        Event(
            kind=SOURCE.kind,
            key=row.id,
            at=row.at,
            word=Word(_("Done"), "good"),
            title=_(KINDS.get(row.kind, row.kind)),
            detail=_about(row.name, row.detail),
            who=row.by or text.UNKNOWN,
        )
        for row in context.users.changes(context.org, wanted)
    ]


def _about(name: str, detail: str) -> str:
    shown = _(ROLES[UserRole(detail)]) if detail in ROLES else detail
    return _("{name}: {value}", name=name, value=shown) if shown else name


SOURCE = EventSource(
    "user", marked("Users"), order=50, find=find, roles=frozenset((UserRole.ADMIN,)), of_machines=False
)
