"""The part that the charts of a page share, drawn by `assets/chart_range.js`: the pointer's time, and drag to zoom.

The charts are those in the same container, whose key begins with `charts_`.
"""

from collections.abc import Callable
from typing import Any, Final

import streamlit as st

from dashboard.widgets.charts import LEFT, RIGHT
from dashboard.widgets.component import component

_HTML: Final = '<div class="df-chart-range" aria-hidden="true"></div>'
_DIGITS_MAX: Final = 15


def draw(key: str, *, start: int, end: int, focus: int, on_zoomed: Callable[[], None]) -> None:
    """Connect the charts, which show the time from `start` to `end` in milliseconds.

    A higher `focus` than before, from 1, scrolls to them. `on_zoomed` is called when a range was chosen; `zoomed` reads
    it.
    """
    component("chart_range", _HTML)(
        key=key,
        data={"start": start, "end": end, "left": LEFT, "right": RIGHT, "focus": focus},
        on_zoomed_change=on_zoomed,
    )


def zoomed(key: str) -> tuple[int, int] | None:
    """Return the time range that was chosen, in milliseconds; None if the browser sent none."""
    return read_range(st.session_state[key].zoomed)


def read_range(sent: Any) -> tuple[int, int] | None:  # noqa: ANN401 - whatever the browser sent
    """Return a time range that a browser sent, or None."""
    if not isinstance(sent, list | tuple) or len(sent) != 2:
        return None
    if not all(isinstance(each, int | float) and 0 <= each < 10**_DIGITS_MAX for each in sent):
        return None
    start, end = (int(each) for each in sent)
    return (start, end) if start < end else None
