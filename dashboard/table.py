"""Rows as a real HTML table, a component of our own: `assets/table.js` draws it, links, ticks and all."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import streamlit as st

from dashboard.language import _
from dashboard.shell import asset
from dashboard.text import readable

Cells = Sequence[Mapping[str, Any]]


def draw(
    key: str,
    name: str,
    columns: Cells,
    rows: Cells,
    *,
    total: int,
    order_age: int = 0,
    ticks: Mapping[str, Any] | None = None,
    on_sorted: Callable[[], None] | None = None,
    on_aged: Callable[[], None] | None = None,
    on_ticks: Callable[[], None] | None = None,
) -> str:
    """Draw it; returns the id of the row that was just opened, or an empty text. `name` is for screen readers.

    A handler reads what was clicked with `sorted_by` and `ticks`. A column without `sorted` cannot be sorted by.
    """
    result = _component()(
        key=key,
        data={
            "name": name,
            "tick_all": _("Select all on this page"),
            "tick": _("Select {machine}"),
            "total": total,
            "columns": list(columns),
            "rows": _readable(rows),
            "order_age": order_age,
            "ticks": None if ticks is None else dict(ticks),
        },
        on_sorted_change=on_sorted or _nothing,
        on_opened_change=_nothing,
        on_aged_change=on_aged or _nothing,
        on_ticks_change=on_ticks or _nothing,
    )
    return str(result.opened or "")


def sorted_by(key: str) -> Any:  # noqa: ANN401 - whatever the browser sent
    """The column whose header was clicked."""
    return st.session_state[key].sorted


def ticks(key: str) -> Any:  # noqa: ANN401 - whatever the browser sent
    """What the browser says is ticked."""
    return st.session_state[key].ticks


def _readable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The same with every text made readable."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, Mapping):
        return {name: _readable(each) for name, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, Sequence) else value


def _nothing() -> None:
    """A component returns only what it has a callback for."""


@lru_cache
def _component() -> Any:  # noqa: ANN401 - Streamlit's renderer has no public type
    return st.components.v2.component(
        "dashfleet.table",
        html='<div class="df-scroll"><table class="df-fleet"><thead><tr></tr></thead><tbody></tbody></table></div>',
        js=asset("table.js"),
        isolate_styles=False,
    )
