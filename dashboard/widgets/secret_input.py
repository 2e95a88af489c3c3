"""An input for a secret, whose value is hidden.

Invariant: every character is sent when it is typed. Streamlit sends a value when the focus leaves the whole widget from
the text; Tab goes from the text to the button that shows it, and the text would be lost.
"""

import streamlit as st


def secret_input(label: str, *, key: str, example: str = "", max_chars: int = 1000) -> None:
    """Draw the input; its value is in the session under `key`. It must not be in a `st.form`, which sends later."""
    st.text_input(
        label, type="password", placeholder=example, max_chars=max_chars, autocomplete="off", key=key, live="0ms"
    )
