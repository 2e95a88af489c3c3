"""Automatic refresh of a part of a page."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from dashboard.page.last_good import fresh
from dashboard.page.page import PageContext
from schemas.database.queries import heartbeat


def auto_refresh(draw: Callable[[], None], *, seconds: float, key: str) -> None:
    """Draw a part of the page here, and again every `seconds` without the rest.

    It has a container of its own: a fragment that runs again before the browser has the page withdraws what it drew
    and sends it last, so that what follows would find its own place missing, at which Streamlit's page stops.
    `key` names the fragment and must be unique among all pages: a refresh requested by one page would run on the other.
    """

    def body() -> None:
        draw()

    body.__qualname__ = key
    with st.container(key=f"place_{key}"):
        st.fragment(body, run_every=seconds, key=key)()


def until_readable(context: PageContext) -> None:
    """Stand in for a page that has nothing to show while the database is down; rerun it once it is back."""

    def wait() -> None:
        if fresh(partial(heartbeat.latest_heartbeat, context.engine)) is not None:
            st.rerun()

    auto_refresh(wait, seconds=context.refresh_seconds, key="wait")
