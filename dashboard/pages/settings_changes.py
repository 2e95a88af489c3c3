"""The other half of the activity: who changed what about the organisation itself, and for admins about its people."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.activity.rows import who
from dashboard.auth.users import UserRole
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.i18n.text import Word
from dashboard.page import last_good, refresh
from dashboard.page.page import ROLES, Page, PageContext
from dashboard.widgets import cells, markup, search_box, table
from schemas.database.queries.requests import list_changes

PAGE = Page(title=marked("Changes"), path="changes", icon=":material/history:", order=11, in_menu=False)

PAGE_SIZE: Final = 50
_ACTIVITY: Final = "activity"
_SEARCH: Final = "changes.search"
_PAGE: Final = "changes.page"
KINDS: Final[Mapping[str, Marked]] = {
    "configure-org": marked("Changed settings"),
    "add-token": marked("Made a token"),
    "revoke-token": marked("Revoked a token"),
    "add-principal": marked("Let a program in"),
    "rotate-principal": marked("Gave a program another secret"),
    "revoke-principal": marked("Revoked a program"),
    "retire-machine": marked("Retired a machine"),
    "reinstate-machine": marked("Took a machine back"),
    "change-keys": marked("Changed whose orders are obeyed"),
    "cancel": marked("Took commands back"),
    "add-person": marked("Added a person"),
    "set-role": marked("Gave a person another role"),
    "set-password": marked("Gave a person another password"),
    "sign-out": marked("Signed a person out everywhere"),
    "remove-person": marked("Removed a person"),
}
"""What a change is called, by the kind of its request or of its record."""

_COLUMNS: Final[cells.Heads] = (
    ("when", marked("When")),
    ("action", marked("ChangeEntry")),
    ("why", marked("What")),
    ("outcome", marked("Outcome")),
    ("who", marked("Who")),
)
_TITLE: Final = marked("Changes of the organisation")
_NONE_TITLE: Final = marked("No change yet")
_NONE: Final = marked("What admins change about the organisation stands here, with who changed it.")
_NO_MATCH: Final = marked("No change matches these words.")


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """What somebody changed, or tried to."""

    at: int
    id: str
    kind: str
    detail: str
    accepted: bool
    who: str

    @property
    def title(self) -> str:
        """What was done, in words; a kind that a later version added shows as it is."""
        return _(KINDS[self.kind]) if self.kind in KINDS else self.kind


def show(context: PageContext) -> None:
    """Draw the page."""
    with st.container(key="back"):
        st.page_link(context.pages[_ACTIVITY], label=_("Activity"), icon=":material/arrow_back:")
    st.html(markup.heading(_(_TITLE), 1))
    search_box.draw(_SEARCH, _("Search who, what"), _narrowed)
    refresh.auto_refresh(partial(_list, context), seconds=context.refresh_seconds, key="changes_list")


def _list(context: PageContext) -> None:
    """What refreshes: a page of the list."""
    number = int(st.session_state.setdefault(_PAGE, 0))
    words = str(st.session_state.get(_SEARCH, ""))
    first = number * PAGE_SIZE
    found = last_good.read(context, "changes", partial(changes, context, words, limit=first + PAGE_SIZE + 1))
    if found is None:
        return
    if not found:
        st.html(markup.empty(_(_NONE_TITLE), _(_NO_MATCH) if words else _(_NONE)))
        return
    rows = [_row(context, change) for change in found[first : first + PAGE_SIZE]]
    table.draw("changes_table", _(PAGE.title), cells.columns(_COLUMNS), rows, total=len(rows))
    with st.container(horizontal=True, vertical_alignment="center", key="activity_foot"):
        st.button(_("Newer"), on_click=partial(_turn, -1), disabled=number == 0)
        st.button(_("Older"), on_click=partial(_turn, 1), disabled=len(found) <= first + PAGE_SIZE)
        st.space("stretch")
        at = text.clock(context.now(), context.zone)
        st.html(markup.live_stamp(_("Updated {at}", at=at)), width="content")


def changes(context: PageContext, words: str, *, limit: int) -> list[ChangeEntry]:
    """The newest changes: what went through the ingestor, and for admins what was done with people."""
    asked = list_changes(context.engine, context.org, search=words, limit=limit)
    found = [
        ChangeEntry(
            row.created_at, row.id, row.kind, row.detail, row.state == "accepted", who(row.actor, row.principal)
        )
        for row in asked
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
    said = _(ROLES[UserRole(detail)]) if detail in ROLES else detail
    return f"{name}: {said}" if said else name


def _row(context: PageContext, change: ChangeEntry) -> dict[str, Any]:
    outcome = Word(_("Done"), "good") if change.accepted else Word(_("Refused"), "bad")
    return cells.row(
        change.id,
        f"/{PAGE.path}",
        cells.plain(text.moment(change.at, context.now(), context.zone)),
        cells.name(change.title),
        cells.plain(change.detail),
        cells.chip(outcome),
        cells.plain(change.who),
    )


def _narrowed() -> None:
    st.session_state[_PAGE] = 0


def _turn(by: int) -> None:
    st.session_state[_PAGE] = max(0, int(st.session_state.get(_PAGE, 0)) + by)
