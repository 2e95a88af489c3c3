"""A settings section for credentials: a table, a dialog that adds one, and a dialog for each to change or revoke it.

Invariant: a secret is generated in this process; only its hash, or the public half of a key, is published or stored.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import streamlit as st

from dashboard.changes import change_dialog
from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, pgettext
from dashboard.i18n.text import Word
from dashboard.page import dialog_steps
from dashboard.page.dialog_steps import DialogState, Draw
from dashboard.page.page import PageContext
from dashboard.settings.section import SectionRow, SettingsSection, draw_table
from dashboard.widgets import cells, markup
from schemas.contract.administration import Administration


def draw(
    section: SettingsSection,
    *,
    intro: Marked,
    add: tuple[Marked, Draw],
    columns: cells.Heads,
    rows: Sequence[SectionRow] | None,
    empty: tuple[str, str] = ("", ""),
    blocked: bool = False,
) -> None:
    """Draw the section.

    `add`: the label of the button that adds a credential, and the form of its dialog. `rows`: None if the credentials
    could not be read. `empty`: title and text in place of an empty table. `blocked`: no change can be requested now.
    """
    st.html(markup.note(_(intro)))
    label, form = _(add[0]), add[1]
    open_form = partial(dialog_steps.request, label.removesuffix(" …"), form)
    st.button(label, type="primary", key=f"settings.{section.code}.new", disabled=blocked, on_click=open_form)
    if rows:
        draw_table(section, columns, rows)
    elif rows is not None:
        st.html(markup.empty(*empty))


def state(*, revoked: bool, expired: bool = False) -> Word:
    """Return whether a credential is valid, in a word."""
    if revoked:
        return Word(_("Revoked"), "muted")
    return Word(pgettext("credential", "Expired"), "muted") if expired else Word(_("Valid"), "good")


def lifetime_input(state: DialogState, choices: Sequence[int], *, endless: str = "", index: int = 0) -> None:
    """Draw the input `lifetime`, in seconds. `endless` is what 0 is called."""
    st.selectbox(
        _("Valid for"),
        choices,
        index=index,
        format_func=lambda seconds: text.period(seconds) if seconds else endless,
        key=state.key("lifetime"),
    )


def step_buttons(state: DialogState, steps: Mapping[str, str]) -> None:
    """Draw a button for each further step of the dialog, by its code."""
    with st.container(horizontal=True):
        for step, label in steps.items():
            st.button(label, key=state.button_key(step), on_click=partial(state.go, step))


def revoke_step(
    context: PageContext, state: DialogState, name: str, warning: str, make: Callable[[], Administration]
) -> None:
    """Draw a warning and the button that revokes a credential. `make` returns the change."""
    st.html(markup.banner(warning))
    revoke = partial(change_dialog.publish, context, state, make, title=_("Revoke {name}", name=name))
    dialog_steps.buttons(state, _("Revoke"), revoke, dangerous=True)
