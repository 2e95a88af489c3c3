"""The search field of a page, which searches while the user types."""

from collections.abc import Callable

import streamlit as st

from dashboard.i18n.language import _

LENGTH_MAX = 100


def draw(key: str, placeholder: str, on_change: Callable[[], None]) -> None:
    """Draw the field. The session state holds its value under `key`; `placeholder` names what is searched."""
    st.text_input(
        _("Search"),
        key=key,
        type="search",
        live="300ms",
        max_chars=LENGTH_MAX,
        placeholder=placeholder,
        label_visibility="collapsed",
        icon=":material/search:",
        on_change=on_change,
    )
