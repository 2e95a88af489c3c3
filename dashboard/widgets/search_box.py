"""The field in which a page is searched: it answers while somebody types."""

from collections.abc import Callable

import streamlit as st

from dashboard.i18n.language import _

LENGTH_MAX = 100


def draw(key: str, placeholder: str, on_change: Callable[[], None]) -> None:
    """Draw it; what is searched for is in the session's state under `key`. `placeholder` says what is looked at."""
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
