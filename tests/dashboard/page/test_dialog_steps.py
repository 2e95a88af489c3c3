"""The dialog stepper as Streamlit runs it, without a browser."""

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.page.dialog_steps import CONFIRMATION, FORM, DialogState


def page() -> None:  # its source runs alone
    from functools import partial
    from typing import Any

    import streamlit as st

    from dashboard.page import dialog_steps
    from dashboard.page.dialog_steps import CONFIRMATION, DialogState

    def form(_context: object, state: DialogState) -> None:
        if state.step == CONFIRMATION:
            confirmed = dialog_steps.confirmation_input(state, "db-01")
            finish = partial(state.finish, outcome)
            dialog_steps.buttons(state, "Send", finish, back=True, disabled=not confirmed)
            return
        st.text_input("Text", "none", key=state.key("text"))
        dialog_steps.buttons(state, "Continue", partial(state.go, CONFIRMATION))

    def outcome(_context: object, state: DialogState) -> None:
        st.text("done")
        dialog_steps.reopen_button(state)
        dialog_steps.close_button(state, "Close")

    dismissible = bool(st.session_state.get("dismissible"))
    st.button("Open", on_click=partial(dialog_steps.request, "Title", form, dismissible=dismissible))
    context: Any = None
    if "dialog.state" in st.session_state and not dialog_steps.is_requested():
        dialog_steps._draw(context)  # as a run of the dialog's fragment does, which AppTest has none of
    dialog_steps.open_requested(context)


@pytest.fixture
def at() -> AppTest:
    at = AppTest.from_function(page, default_timeout=60).run()
    return click(at, "Open")


def click(at: AppTest, label: str) -> AppTest:
    (button,) = [each for each in at.button if each.label == label]
    at = button.click().run()
    assert not at.exception
    return at


def labels(at: AppTest) -> list[str]:
    return [each.label for each in at.button]


def test_a_step_back_shows_the_form_as_it_was_left(at: AppTest) -> None:
    at.text_input[0].set_value("five").run()
    click(at, "Continue")
    assert [each.label for each in at.text_input] == ["Type db\\-01 to confirm"]
    click(at, "Back")
    assert [(each.label, each.value) for each in at.text_input] == [("Text", "five")]


def test_what_was_typed_to_confirm_does_not_confirm_another_time(at: AppTest) -> None:
    click(at, "Continue")
    at.text_input[0].set_value("db-01").run()
    assert not next(each for each in at.button if each.label == "Send").disabled
    click(at, "Back")
    click(at, "Continue")
    assert at.text_input[0].value == ""
    assert next(each for each in at.button if each.label == "Send").disabled


def test_the_outcome_replaces_the_steps_and_closing_it_forgets_the_state(at: AppTest) -> None:
    click(at, "Continue")
    at.text_input[0].set_value("db-01").run()
    click(at, "Send")
    assert [each.value for each in at.text] == ["done"]
    assert labels(at) == ["Open", "Edit and try again", "Close"]
    click(at, "Close")
    assert "dialog.state" not in at.session_state
    assert labels(at) == ["Open"]


def test_a_refused_request_shows_the_form_again_with_what_was_entered(at: AppTest) -> None:
    at.text_input[0].set_value("five").run()
    click(at, "Continue")
    at.text_input[0].set_value("db-01").run()
    click(at, "Send")
    click(at, "Edit and try again")
    assert [(each.label, each.value) for each in at.text_input] == [("Text", "five")]
    click(at, "Continue")
    assert at.text_input[0].value == "", "what was typed to confirm does not confirm another time"


def test_each_opening_begins_anew(at: AppTest) -> None:
    at.text_input[0].set_value("five").run()
    click(at, "Cancel")
    click(at, "Open")
    assert at.text_input[0].value == "none"


def test_a_dismissible_dialog_has_no_button_out() -> None:
    at = AppTest.from_function(page, default_timeout=60)
    at.session_state["dismissible"] = True
    at.run()
    assert labels(click(at, "Open")) == ["Open", "Continue"]


def test_a_secret_is_in_no_representation_of_the_state() -> None:
    def form(_context: object, _state: DialogState) -> None: ...

    state = DialogState("Title", form, secret="s3cret", kept={"dialog.1.text": "s3cret"})
    assert "s3cret" not in repr(state)
    assert (state.step, CONFIRMATION == FORM) == (FORM, False)


def test_what_is_wrong_with_an_input_is_forgotten_with_the_step() -> None:
    state = DialogState("Title", lambda _context, _state: None)
    state.refuse(faults={"name": "Enter a name."})
    assert (state.problem, state.faults, state.checks) == ("", {"name": "Enter a name."}, 1)
    state.refuse("Nothing has changed.")
    assert (state.problem, state.faults, state.checks) == ("Nothing has changed.", {}, 2)
    state.refuse(faults={"name": "Enter a name."})
    state.accept()
    assert (state.problem, state.faults) == ("", {})
