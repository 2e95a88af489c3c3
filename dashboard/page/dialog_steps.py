"""A modal dialog with steps: a form, further steps such as a confirmation, and an outcome that replaces them.

Invariants:
- The state is in the session from opening to closing, so that refreshes of the page behind the dialog change nothing.
- Each opening has its own number, which is part of all widget keys: what the browser still holds of an earlier dialog
  is never taken for a value of this one.
- A step back shows the form as it was left: the browser forgets the widgets of a form that is not drawn.
- A dialog that may show a secret is not dismissible: a click beside it or Escape must not lose the secret.
- The button that closes the outcome is drawn outside what refreshes, so that no refresh takes a click away.
- What is wrong with an input stays below it until the next check: if it went with the change of the input, the button
  that is being clicked would move away from the pointer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import streamlit as st

from dashboard.i18n.language import _
from dashboard.page.page import PageContext
from dashboard.widgets import markup, theme

FORM, CONFIRMATION = "form", "confirmation"

_STATE: Final = "dialog.state"
_REQUESTED: Final = "dialog.requested"
_NUMBER: Final = "dialog.number"

Draw = Callable[[PageContext, "DialogState"], None]


@dataclass(slots=True)
class DialogState:
    """The state of a dialog. `form` draws all steps before the outcome, `outcome` replaces it once it is set.

    `about` is what the form works on. `secret` is shown once, by the outcome, followed by what `reveal` draws.
    `faults`: what is wrong with inputs, by their names, after the last of `checks`.
    """

    title: str
    form: Draw
    dismissible: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    step: str = FORM
    problem: str = ""
    faults: Mapping[str, str] = field(default_factory=dict)
    checks: int = 0
    outcome: Draw | None = None
    secret: str = field(default="", repr=False)
    reveal: Draw | None = None
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    first: str = field(init=False)

    def __post_init__(self) -> None:
        """Record the step that the dialog opens at."""
        self.first = self.step

    def key(self, name: str) -> str:
        """Return the key of an input widget of this dialog."""
        return f"dialog.{self.number}.{name}"

    def button_key(self, name: str) -> str:
        """Return the key of a button of this dialog; unlike an input, it cannot be restored."""
        return f"dialog.{self.number}-{name}"

    def value(self, name: str) -> Any:  # noqa: ANN401 - the value of any widget
        """Return the present value of an input widget, None if there is none."""
        return st.session_state.get(self.key(name))

    def go(self, step: str) -> None:
        """Go to another step, in a handler. The form's values are kept when it is left, and restored on return."""
        own = [str(key) for key in st.session_state if str(key).startswith(self.key(""))]
        if self.step == FORM:
            self.kept = {key: st.session_state[key] for key in own}
        if step == FORM:
            for key in own:  # what was typed to confirm does not confirm another time
                del st.session_state[key]
            st.session_state.update(self.kept)
        self.step = step
        self.accept()

    def refuse(self, problem: str = "", faults: Mapping[str, str] | None = None) -> None:
        """Have the next run show what is wrong, in a handler: with inputs, by their names, and otherwise."""
        self.problem, self.faults = problem, faults or {}
        self.checks += 1

    def accept(self) -> None:
        """Forget what was wrong."""
        self.problem, self.faults = "", {}

    def finish(self, outcome: Draw) -> None:
        """Replace the steps by their outcome, in a handler. What was entered is kept until the dialog closes."""
        if self.step == FORM:
            self.go(CONFIRMATION)
        self.accept()
        self.outcome = outcome

    def reopen(self) -> None:
        """Have the next run show the form again as it was left, after an outcome that changed nothing."""
        self.outcome, self.secret = None, ""
        st.session_state[_REQUESTED] = self


def request(
    title: str,
    form: Draw,
    *,
    dismissible: bool = False,
    step: str = FORM,
    problem: str = "",
    **about: Any,  # noqa: ANN401 - what the form works on
) -> None:
    """Have the next run of the whole page open a dialog at this step."""
    number = st.session_state[_NUMBER] = st.session_state.get(_NUMBER, 0) + 1
    st.session_state[_REQUESTED] = DialogState(title, form, dismissible, about, number, step, problem)


def is_requested() -> bool:
    """Return True if a dialog is to open; a fragment that finds so must rerun the whole page."""
    return _REQUESTED in st.session_state


def open_requested(context: PageContext) -> None:
    """Open the dialog that was requested, if any."""
    state: DialogState | None = st.session_state.pop(_REQUESTED, None)
    if state is not None:
        st.session_state[_STATE] = state
        if state.step != state.first:  # in the run that draws the form: a value set earlier would not reach the browser
            state.go(state.first)
        st.dialog(markup.plain(state.title), width="medium", dismissible=state.dismissible)(_draw)(context)


def _draw(context: PageContext) -> None:
    state: DialogState | None = st.session_state.get(_STATE)
    if state is None:
        st.rerun()
    st.html(theme.dialog_style(st.context.theme.type))
    (state.outcome or state.form)(context, state)


def fault(state: DialogState, name: str, place: Any = st) -> None:  # noqa: ANN401 - Streamlit, or one of its columns
    """Draw what is wrong with an input, if anything, directly below it."""
    if text := state.faults.get(name):
        place.html(markup.fault(text, f"fault-{state.number}-{state.checks}-{name}"))


def buttons(
    state: DialogState,
    label: str = "",
    on_click: Callable[[], None] = lambda: None,
    *,
    back: bool = False,
    disabled: bool = False,
    dangerous: bool = False,
) -> None:
    """Draw the problem, if any, and the buttons of a step: out of the dialog, back to the form, and on (`label`).

    A dismissible dialog has no button out. `dangerous`: the last button looks so.
    """
    if state.problem:
        st.html(markup.banner(state.problem, "bad"))
    with st.container(horizontal=True):
        if not state.dismissible:
            close_button(state, _("Cancel") if label else _("Close"), name="cancel")
        if back:
            st.button(_("Back"), key=state.button_key("back"), on_click=partial(state.go, FORM))
        if label:
            key = state.button_key("danger" if dangerous else "on")
            st.button(markup.plain(label), type="primary", key=key, on_click=on_click, disabled=disabled)


def close_button(state: DialogState, label: str, *, primary: bool = False, name: str = "close") -> None:
    """Draw a button that closes the dialog. With the name `cancel`, Escape presses it while nothing was entered."""
    if st.button(label, type="primary" if primary else "secondary", key=state.button_key(name)):
        leave()
        st.rerun()


def reopen_button(state: DialogState) -> None:
    """Draw a button that shows the form again with what was entered, for a request that was refused."""
    if st.button(_("Edit and try again"), key=state.button_key("again")):
        state.reopen()
        st.rerun()


def confirmation_input(state: DialogState, word: str) -> bool:
    """Draw an input in which `word` must be typed to confirm; return True if it was."""
    label = _("Type {word} to confirm", word=markup.plain(word))
    return st.text_input(label, key=state.key("typed"), live="300ms") == word


def is_confirmed(state: DialogState, word: str) -> bool:
    """Return True if `word` was typed, for the handler of the button."""
    return bool(state.value("typed") == word)


def leave() -> None:
    """Discard the dialog's state, in a handler: the dialog closes with the run that follows."""
    st.session_state.pop(_STATE, None)
