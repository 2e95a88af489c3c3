"""What a visitor has asked for that changes the organisation, and whether the database has it yet.

Invariants:
- Nothing is taken for done because it was sent: only the record of the request in the database says so.
- What nobody has answered in time is shown as such, and turns into what became of it if that is recorded later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.i18n.language import _, marked
from dashboard.i18n.text import Word
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import CHANGE_MILLISECONDS, NotAllowedError
from dashboard.widgets import markup
from schemas.contract.administration import Administration
from schemas.database.queries import settings

PENDING: Final = "pending"
_ASKED: Final = "changes.asked"
_KEPT_MAX: Final = 20
_GRACE_MILLISECONDS: Final = 5_000
_WORDS: Final = {
    PENDING: (marked("Pending"), "fair"),
    "accepted": (marked("Done"), "good"),
    "refused": (marked("Refused"), "bad"),
    "unanswered": (marked("No answer"), "bad"),
}
_UNANSWERED: Final = marked("Nobody has answered. If the ingestor runs and is connected, ask again.")
_NOT_YET: Final = marked("Sent; the database does not have it yet.")
_NOBODY: Final = marked("This dashboard has no connection to the broker.")
_CLEAR: Final = marked("Clear this list")
_LABEL: Final = marked("What you have asked for")


@dataclass(frozen=True, slots=True)
class Asked:
    """A change that somebody asked for: the id of its request, what it is in words, and when nobody asks any more."""

    request: str
    title: str
    change: Administration
    until: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of it: the code of its state, and why."""

    code: str
    detail: str

    @property
    def word(self) -> Word:
        """The state as people read it."""
        label, tone = _WORDS[self.code]
        return Word(_(label), tone)


def ask(context: PageContext, change: Administration, title: str) -> Asked:
    """Ask for a change, and remember it for this visitor. Raises NotAllowedError."""
    if context.publisher is None:
        raise NotAllowedError(_(_NOBODY))
    request = context.publisher.administer(context.org, change, role=context.role, actor=context.user)
    asked = Asked(request, title, change, context.now() + CHANGE_MILLISECONDS + _GRACE_MILLISECONDS)
    st.session_state[_ASKED] = [*_remembered(), asked][-_KEPT_MAX:]
    return asked


def standing(asked: Asked, row: Row[Any] | None, now: int) -> Standing:
    """What became of it. `row`: its request as the database has it."""
    if row is not None:
        return Standing("accepted" if row.state == "accepted" else "refused", row.detail)
    if now < asked.until:
        return Standing(PENDING, _(_NOT_YET))
    return Standing("unanswered", _(_UNANSWERED))


def look(context: PageContext, asked: Sequence[Asked]) -> list[Standing]:
    """What became of each of these."""
    if not asked:
        return []
    ids = [each.request for each in asked]
    read = partial(settings.answers, context.engine, context.org, ids)
    found: Mapping[str, Row[Any]] = refresh.read(context, "changes.answers", read) or {}
    return [standing(each, found.get(each.request), context.now()) for each in asked]


def pending(context: PageContext) -> list[Asked]:
    """What this visitor has asked for and the database does not have yet."""
    asked = _remembered()
    return [each for each, stands in zip(asked, look(context, asked), strict=True) if stands.code == PENDING]


def draw(context: PageContext) -> None:
    """What this visitor has asked for on this visit, the newest first, until they clear it."""
    asked = _remembered()
    if not asked:
        return
    found = look(context, asked)
    rows = [(each.title, stands.word, stands.detail) for each, stands in zip(asked, found, strict=True)]
    st.html(markup.outcomes(reversed(rows), _(_LABEL)))
    if all(stands.code != PENDING for stands in found):
        st.button(_(_CLEAR), on_click=_forget, type="tertiary", key="changes.clear")


def _remembered() -> list[Asked]:
    return list(st.session_state.get(_ASKED, ()))


def _forget() -> None:
    st.session_state.pop(_ASKED, None)
