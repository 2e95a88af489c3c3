"""The dialog in which somebody changes the organisation: a form, yes, and what became of it.

Invariants:
- A handler asks in one go; who may is checked where it is published or stored, whatever the page showed.
- A secret is in the draft alone, in this process's memory: it is shown when what it opens is there, once, and is gone
  when the dialog is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.auth.accounts import AccountError
from dashboard.changes import pending_changes
from dashboard.changes.pending_changes import PENDING, Asked
from dashboard.i18n.language import _, marked
from dashboard.page import refresh
from dashboard.page.page import PageContext
from dashboard.publishing.publisher import NotAllowedError
from dashboard.widgets import markup, theme
from schemas.contract.administration import Administration

_DRAFT: Final = "change.draft"
_OPENING: Final = "change.opening"
_NUMBER: Final = "change.number"
_REFRESH_SECONDS: Final = 0.5
_GOES_ON: Final = marked("This may be closed: it goes on, and the page shows what becomes of it.")
_STAY: Final = marked("Keep this open: the secret is shown here when it is done, and nowhere else.")
_ONCE: Final = marked("It is shown only this once. Copy it now; nobody can read it again.")


@dataclass(slots=True)
class Draft:
    """What the dialog remembers from its opening to its closing. `form` and `reveal` draw its beginning and its end."""

    title: str
    form: "Callable[[PageContext, Draft], None]"
    about: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    confirming: bool = False
    problem: str = ""
    asked: Asked | None = None
    said: str = ""
    secret: str = field(default="", repr=False)
    reveal: "Callable[[PageContext, Draft], None] | None" = None

    def key(self, name: str) -> str:
        """The name of a widget of this dialog."""
        return f"change.{self.number}.{name}"

    def value(self, name: str) -> Any:  # noqa: ANN401 - whatever a widget holds
        """What a widget of this dialog holds now."""
        return st.session_state.get(self.key(name))


Form = Callable[[PageContext, Draft], None]


def ask(title: str, form: Form, **about: Any) -> None:  # noqa: ANN401 - what the form needs
    """Have the dialog open with the next run of the whole page. `about`: what it is to know."""
    number = st.session_state[_NUMBER] = st.session_state.get(_NUMBER, 0) + 1
    st.session_state[_OPENING] = Draft(title, form, about, number)


def asked() -> bool:
    """Whether the dialog is to open; a fragment that finds so must have the whole page run."""
    return _OPENING in st.session_state


def open_if_asked(context: PageContext) -> None:
    """Open the dialog, when somebody asked for it. A click beside it does not close it: a secret would be lost."""
    draft: Draft | None = st.session_state.pop(_OPENING, None)
    if draft is not None:
        st.session_state[_DRAFT] = draft
        st.dialog(markup.plain(draft.title), width="medium", dismissible=False)(_dialog)(context)


def request(context: PageContext, draft: Draft, change: Administration, *, secret: str = "") -> None:
    """Ask for a change; the dialog goes on to what becomes of it. `secret` is what it opens, for whoever asked."""
    if draft.asked is not None:
        return
    try:
        draft.asked = pending_changes.ask(context, change, draft.title)
    except NotAllowedError as error:
        draft.problem = str(error)
        return
    draft.problem, draft.secret = "", secret


def store(draft: Draft, change: Callable[[], str | None], *, said: str) -> None:
    """Make a change of what the dashboard keeps itself; it may return a secret to show."""
    if draft.said:
        return
    try:
        draft.secret = change() or ""
    except AccountError as error:
        draft.problem = str(error)
        return
    draft.problem, draft.said = "", said


def buttons(
    draft: Draft,
    label: str = "",
    on_click: Callable[[], None] = lambda: None,
    *,
    back: bool = False,
    disabled: bool = False,
) -> None:
    """The way out, and with a label the way on; with `back` also the way from a confirmation to its form."""
    with st.container(horizontal=True):
        if st.button(_("Cancel") if label else _("Close"), key=draft.key("cancel")):
            close()
        if back:
            st.button(_("Back"), key=draft.key("back"), on_click=partial(_back, draft))
        if label:
            st.button(markup.plain(label), type="primary", key=draft.key("on"), on_click=on_click, disabled=disabled)


def close() -> None:
    """Close the dialog, and forget what it held."""
    leave()
    st.rerun()


def leave() -> None:
    """Forget what the dialog held, in a handler: it closes with the run that follows."""
    st.session_state.pop(_DRAFT, None)


def _back(draft: Draft) -> None:
    draft.confirming, draft.problem = False, ""


def _dialog(context: PageContext) -> None:
    draft: Draft | None = st.session_state.get(_DRAFT)
    if draft is None:
        st.rerun()
    st.html(theme.dialog_style(st.context.theme.type))
    if draft.problem:
        st.html(markup.banner(draft.problem, "bad"))
    if draft.asked is not None:
        refresh.refresh(
            partial(_progress, context, draft, draft.asked), seconds=_REFRESH_SECONDS, key="change.progress"
        )
    elif draft.said:
        st.html(markup.banner(f"{_('Done')}: {draft.said}", "good"))
        _reveal(context, draft)
    else:
        draft.form(context, draft)
        return
    if st.button(_("Close"), type="primary", key=draft.key("close")):
        close()


def _progress(context: PageContext, draft: Draft, asked: Asked) -> None:
    (stands,) = pending_changes.look(context, [asked])
    if stands.code == PENDING:
        st.html(markup.banner(f"{stands.word.label}: {stands.detail}"))
        st.html(markup.note(_(_STAY) if draft.secret else _(_GOES_ON)))
        return
    said = f"{stands.word.label}: {stands.detail}" if stands.detail else stands.word.label
    st.html(markup.banner(said, stands.word.tone))
    if stands.code == "accepted":  # what nobody has answered yet may still be
        _reveal(context, draft)


def _reveal(context: PageContext, draft: Draft) -> None:
    """Show what a change that is done has opened."""
    if draft.secret:
        st.html(markup.note(_(_ONCE)))
        st.code(draft.secret, language=None, wrap_lines=True)
    if draft.reveal is not None:
        draft.reveal(context, draft)
