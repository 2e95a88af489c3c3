"""Rows as a real HTML table, a component of our own: `assets/table.js` draws it, links, ticks and all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import streamlit as st

from dashboard.i18n.language import _
from dashboard.i18n.text import readable
from dashboard.widgets.component import component

_HTML: Final = '<div class="df-scroll"><table class="df-fleet"><thead><tr></tr></thead><tbody></tbody></table></div>'

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
    result = component("table", _HTML)(
        key=key,
        data={
            "name": name,
            "tick_all": _("Select all on this page"),
            "tick": _("Select {machine}"),
            "total": total,
            "columns": list(columns),
            **packed(rows),
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


def packed(rows: Cells) -> dict[str, Any]:
    """Rows as they travel: each different cell once, what its values are called once for each kind of cell.

    A row is its id, its link and the numbers of its cells. Empty texts at the end of a cell are left out; every text is
    made readable.
    """
    shapes: dict[tuple[str, ...], int] = {}
    different: dict[str, int] = {}
    cells: list[list[Any]] = []

    def number(cell: Mapping[str, Any]) -> int:
        known = different.setdefault(repr(cell), len(cells))
        if known == len(cells):
            (_, kind), *named = cell.items()
            shape = shapes.setdefault((kind, *(name for name, _ in named)), len(shapes))
            shown = [_readable(value) for _, value in named]
            while shown and shown[-1] == "":
                shown.pop()
            cells.append([shape, *shown])
        return known

    travelling = [[row["id"], row["href"], *map(number, row["cells"])] for row in rows]
    return {"shapes": list(shapes), "cells": cells, "rows": travelling}


def _readable(value: Any) -> Any:  # noqa: ANN401 - JSON
    """The same with every text made readable."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, Mapping):
        return {name: _readable(each) for name, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, Sequence) else value


def _nothing() -> None:
    """A component returns only what it has a callback for."""
