"""Dialog that changes settings, credentials or users: it requests the change and shows the outcome.

Invariants:
- A handler requests in one go; permission is checked where the change is published or stored, whatever the page showed.
- A secret exists in the dialog's state only, in this process's memory: it is shown once, when the change that it
  belongs to is done, and is gone when the dialog closes.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import streamlit as st
from pydantic import ValidationError

from dashboard.auth.passwords import AccountError
from dashboard.changes import pending_changes
from dashboard.changes.pending_changes import ACCEPTED, PENDING, REFUSED, ChangeRequest
from dashboard.i18n.external_texts import translated_error
from dashboard.i18n.language import Marked, _, marked
from dashboard.page import dialog_steps, refresh
from dashboard.page.dialog_steps import DialogState
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.widgets import markup
from schemas.contract.administration import Administration

_REFRESH_SECONDS: Final = 0.5
_PASSWORD: Final = marked("Temporary password: copy it now, it will not be shown again.")
_GOES_ON: Final = marked("You can close this. Progress continues, and the page shows the outcome.")
_STAY: Final = marked("Keep this open: the secret is shown here when the request is done, and nowhere else.")


def publish(
    context: PageContext,
    state: DialogState,
    make: Callable[[], Administration],
    *,
    title: str = "",
    secret: str = "",
    faults: Callable[[ValidationError], Mapping[str, str]] | None = None,
) -> None:
    """Publish the change that `make` returns, and let the dialog show its outcome.

    `title` names the request, by default as the dialog. `secret` is shown once the change is done. `faults` returns
    what is wrong with which input if `make` raises ValidationError.
    """
    if state.outcome is not None:
        return
    try:
        request = pending_changes.publish(context, make(), title or state.title)
    except ValidationError as error:
        if faults is None:
            raise
        state.refuse(faults=faults(error))
    except NotAllowedError as error:
        state.refuse(str(error))
    else:
        state.secret = secret
        state.finish(partial(_requested, request))


def store(state: DialogState, change: Callable[[], str | None], *, done: str, note: Marked = _PASSWORD) -> None:
    """Make a change of the dashboard's own database, which may return a secret.

    `done` describes the change, `note` the secret.
    """
    if state.outcome is not None:
        return
    try:
        state.secret = change() or ""
    except AccountError as error:
        refuse(state, error)
        return
    state.finish(partial(show_done, done, note=note))


def refuse(state: DialogState, error: AccountError) -> None:
    """Have the next run show an error, below the input that it concerns if there is one."""
    sentence = translated_error(error)
    if error.field:
        state.refuse(faults={error.field: sentence})
    else:
        state.refuse(sentence)


def show_done(done: str, context: PageContext, state: DialogState, *, note: Marked = _PASSWORD) -> None:
    """Draw the outcome of a change that is done already."""
    st.html(markup.banner(f"{_('Done')}: {done}", "good"))
    _reveal(context, state, _(note))
    dialog_steps.close_button(state, _("Close"), primary=True)


def _requested(request: ChangeRequest, context: PageContext, state: DialogState) -> None:
    refresh.auto_refresh(partial(_progress, context, state, request), seconds=_REFRESH_SECONDS, key="change.progress")
    dialog_steps.close_button(state, _("Close"), primary=True)


def _progress(context: PageContext, state: DialogState, request: ChangeRequest) -> None:
    (found,) = pending_changes.read_states(context, [request])
    shown = f"{found.word.label}: {found.detail}" if found.detail else found.word.label
    if found.code == PENDING:
        st.html(markup.banner(shown))
        st.html(markup.note(_(_STAY) if state.secret else _(_GOES_ON)))
        return
    st.html(markup.banner(shown, found.word.tone))
    if found.code == REFUSED:
        dialog_steps.reopen_button(state)
    if found.code == ACCEPTED:  # a change without an answer may still be made: its secret stays hidden
        _reveal(context, state, _("Copy it now: it will not be shown again."))


def _reveal(context: PageContext, state: DialogState, note: str) -> None:
    if state.secret:
        st.html(markup.note(note))
        st.code(state.secret, language=None, wrap_lines=True)
    if state.reveal is not None:
        state.reveal(context, state)
