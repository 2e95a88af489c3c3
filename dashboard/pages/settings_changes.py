"""Settings changes: who changed the organisation's settings and credentials, and, for admins, its users."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.activity import paging
from dashboard.activity.paging import PAGE_SIZE
from dashboard.activity.rows import who
from dashboard.auth.users import UserRole
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.i18n.text import Word
from dashboard.page import last_good, refresh
from dashboard.page.page import ROLES, Page, PageContext
from dashboard.widgets import cells, markup, search_box, table
from schemas.database.queries.requests import list_changes

PAGE = Page(title=marked("Settings changes"), path="changes", icon=":material/history:", order=11, in_menu=False)

_ACTIVITY: Final = "activity"
_SEARCH: Final = "changes.search"
_PAGE: Final = "changes.page"
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
    "silence": marked("Silence added"),
    "end-silence": marked("Silence ended"),
    "cancel": marked("Commands cancelled"),
    "add-person": marked("User added"),
    "set-role": marked("User's role changed"),
    "set-password": marked("User's password reset"),
    "sign-out": marked("User signed out everywhere"),
    "remove-person": marked("User removed"),
    "add-second-factor": marked("Second factor added"),
    "remove-second-factor": marked("Second factor removed"),
    "reset-second-factor": marked("Second factor reset"),
    "new-recovery-codes": marked("New recovery codes"),
}
"""The title of a change, by the kind of its request or of its record."""

_COLUMNS: Final[cells.Heads] = (
    ("when", marked("Time")),
    ("action", marked("Change")),
    ("why", marked("Details")),
    ("outcome", marked("Outcome")),
    ("who", marked("User")),
)
_NONE: Final = marked("Changes of settings, credentials and users are listed here, with the user who made them.")


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """A change that was made or refused."""

    at: int
    id: str
    kind: str
    detail: str
    accepted: bool
    who: str

    @property
    def title(self) -> str:
        """The title of the kind; a kind that a later version added shows as it is."""
        return _(KINDS[self.kind]) if self.kind in KINDS else self.kind


def show(context: PageContext) -> None:
    """Draw the page."""
    with st.container(key="back"):
        st.page_link(context.pages[_ACTIVITY], label=_("Activity"), icon=":material/arrow_back:")
    st.html(markup.heading(_(PAGE.title), 1))
    search_box.draw(_SEARCH, _("Search user, change"), partial(paging.reset, _PAGE))
    refresh.auto_refresh(partial(_list, context), seconds=context.refresh_seconds, key="changes_list")


def _list(context: PageContext) -> None:
    words, first = str(st.session_state.get(_SEARCH, "")), paging.first_row(_PAGE)
    found = last_good.read(context, "changes", partial(changes, context, words, limit=first + PAGE_SIZE + 1))
    if found is None:
        return
    if not found:
        st.html(markup.empty(_("No changes"), _("No change matches these words.") if words else _(_NONE)))
        return
    rows = [_row(context, change) for change in found[first : first + PAGE_SIZE]]
    table.draw("changes_table", _(PAGE.title), cells.columns(_COLUMNS), rows, total=len(rows))
    paging.foot(context, _PAGE, more=len(found) > first + PAGE_SIZE)


def changes(context: PageContext, words: str, *, limit: int) -> list[ChangeEntry]:
    """Return the newest changes: requests to the ingestor, and for admins changes of users."""
    found = [
        ChangeEntry(
            row.created_at, row.id, row.kind, row.detail, row.state == "accepted", who(row.actor, row.principal)
        )
        for row in list_changes(context.engine, context.org, search=words, limit=limit)
    ]
    if context.users is not None:
        found += [
            ChangeEntry(
                row.at, f"person-{row.id}", row.kind, _about(row.name, row.detail), True, row.by or text.UNKNOWN
            )
            for row in context.users.changes(context.org, search=words, limit=limit)
        ]
    return sorted(found, key=lambda change: (-change.at, change.id))[:limit]


def _about(name: str, detail: str) -> str:
    shown = _(ROLES[UserRole(detail)]) if detail in ROLES else detail
    return f"{name}: {shown}" if shown else name


def _row(context: PageContext, change: ChangeEntry) -> dict[str, Any]:
    return cells.row(
        change.id,
        f"/{PAGE.path}",
        cells.plain(context.moment(change.at)),
        cells.name(change.title),
        cells.plain(change.detail),
        cells.chip(Word(_("Done"), "good") if change.accepted else Word(_("Refused"), "bad")),
        cells.plain(change.who),
    )
