"""Changes that a visitor has requested in this session, and whether they are in the database.

Invariants:
- A change counts as done only when the database records its request as accepted, never because it was sent.
- A request without an answer in time is shown as such, and takes its real state if an answer is recorded later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import streamlit as st
from sqlalchemy import Row

from dashboard.i18n.language import _, marked
from dashboard.i18n.text import Word
from dashboard.page import last_good
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import CHANGE_MILLISECONDS, NotAllowedError
from dashboard.widgets import markup
from schemas.contract.administration import Administration
from schemas.database.queries.requests import find_answers

PENDING: Final = "pending"
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
_REQUESTS: Final = "changes.requests"
_KEPT_MAX: Final = 20
_GRACE_MILLISECONDS: Final = 5_000
_WORDS: Final = {
    PENDING: (marked("Pending"), "fair"),
    ACCEPTED: (marked("Done"), "good"),
    REFUSED: (marked("Refused"), "bad"),
    "unanswered": (marked("No answer"), "bad"),
}


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A change that was requested: its request's id, its title, and the time (ms) until which it is retried."""

    id: str
    title: str
    change: Administration
    until: int


@dataclass(frozen=True, slots=True)
class ChangeState:
    """The state of a requested change: its code and the reason."""

    code: str
    detail: str

    @property
    def word(self) -> Word:
        """The label of the state, translated."""
        label, tone = _WORDS[self.code]
        return Word(_(label), tone)


def publish(context: PageContext, change: Administration, title: str) -> ChangeRequest:
    """Publish a change, and remember its request in this session. Raises NotAllowedError."""
    if context.publisher is None:
        raise NotAllowedError(_("This dashboard has no connection to the broker."))
    id_ = context.publisher.administer(context.org, change, role=context.role, actor=context.user)
    request = ChangeRequest(id_, title, change, context.now() + CHANGE_MILLISECONDS + _GRACE_MILLISECONDS)
    st.session_state[_REQUESTS] = [*_requests(), request][-_KEPT_MAX:]
    return request


def state_of(request: ChangeRequest, row: Row[Any] | None, now: int) -> ChangeState:
    """Return the state of a change. `row` is its request in the database, if it is there."""
    if row is not None:
        return ChangeState(ACCEPTED if row.state == ACCEPTED else "refused", row.detail)
    if now < request.until:
        return ChangeState(PENDING, _("Sent, not yet in the database."))
    return ChangeState("unanswered", _("No answer. Check that the ingestor is running and connected, then try again."))


def read_states(context: PageContext, requests: Sequence[ChangeRequest]) -> list[ChangeState]:
    """Return the state of each request."""
    if not requests:
        return []
    read = partial(find_answers, context.engine, context.org, [each.id for each in requests])
    found: Mapping[str, Row[Any]] = last_good.read(context, "changes.answers", read) or {}
    return [state_of(each, found.get(each.id), context.now()) for each in requests]


def pending(context: PageContext) -> list[ChangeRequest]:
    """Return the requests of this session that the database does not have yet."""
    requests = _requests()
    states = read_states(context, requests)
    return [each for each, state in zip(requests, states, strict=True) if state.code == PENDING]


def draw(context: PageContext) -> None:
    """Draw the requests of this session, the newest first, until the visitor dismisses them."""
    requests = _requests()
    if not requests:
        return
    states = read_states(context, requests)
    rows = [(each.title, state.word, state.detail) for each, state in zip(requests, states, strict=True)]
    st.html(markup.outcomes(reversed(rows), _("Your requests")))
    if all(state.code != PENDING for state in states):
        st.button(_("Dismiss finished requests"), on_click=_dismiss, type="tertiary", key="changes.dismiss")


def _requests() -> list[ChangeRequest]:
    return list(st.session_state.get(_REQUESTS, ()))


def _dismiss() -> None:
    st.session_state.pop(_REQUESTS, None)
