"""The query of the page's address, also while the browser has not received yet what it was changed to.

Invariants:
- A request that the browser sent before it received a change carries an address that was left. It counts as the address
  that it was changed to: a choice that follows another at once does not undo it, and no refresh shows the old one.
- An address that was left counts again when the visitor goes back to it in the browser's history, and on another page.
"""

from collections.abc import Mapping
from typing import Final

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

Query = dict[str, str]

_PRESENT: Final = "address.present"
_LEFT: Final = "address.left"
_LEFT_MAX: Final = 20
"""Maximum number of addresses that the browser may still send, two for each change that it has not received."""


def read() -> Query:
    """Return the present query."""
    shown = dict(st.query_params)
    if _went_back():
        forget()
    return dict(st.session_state[_PRESENT]) if shown in st.session_state.get(_LEFT, ()) else shown


def change(query: Mapping[str, str]) -> bool:
    """Change the query; return False if the browser shows it already and nothing else was on its way."""
    shown, present, wanted = dict(st.query_params), read(), dict(query)
    if shown == present == wanted:
        return False
    left = [each for each in (*st.session_state.get(_LEFT, ()), present, shown) if each != wanted]
    st.session_state.update({_PRESENT: wanted, _LEFT: left[-_LEFT_MAX:]})
    st.query_params.from_dict(wanted)
    return True


def forget() -> None:
    """Take the next address as the browser sends it."""
    st.session_state.update({_PRESENT: {}, _LEFT: []})


def _went_back() -> bool:
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation
