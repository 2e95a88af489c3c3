"""Paging through a list that is sorted by time, the newest first. The page's number is in the session."""

from functools import partial
from typing import Final

import streamlit as st

from dashboard.i18n import text
from dashboard.i18n.language import _
from dashboard.page.page import PageContext
from dashboard.widgets import markup

PAGE_SIZE: Final = 50


def first_row(key: str) -> int:
    """Return the number of rows before the current page of the list with this key."""
    return PAGE_SIZE * int(st.session_state.setdefault(key, 0))


def reset(key: str) -> None:
    """Go to the first page."""
    st.session_state[key] = 0


def foot(context: PageContext, key: str, *, more: bool) -> None:
    """Draw the buttons that turn the page, and the time of the last read. `more`: there are older rows."""
    with st.container(horizontal=True, vertical_alignment="center", key="activity_foot"):
        st.button(_("Newer"), on_click=partial(_turn, key, -1), disabled=first_row(key) == 0)
        st.button(_("Older"), on_click=partial(_turn, key, 1), disabled=not more)
        st.space("stretch")
        st.html(markup.live_stamp(_("Updated {at}", at=text.clock(context.now(), context.zone))), width="content")


def _turn(key: str, by: int) -> None:
    st.session_state[key] = max(0, int(st.session_state.get(key, 0)) + by)
