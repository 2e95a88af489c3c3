"""An HTML table with links, sorting and selection, drawn by `assets/table.js`."""

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
    outdated: bool = False,
    remember: str = "",
    ticks: Mapping[str, Any] | None = None,
    on_sorted: Callable[[], None] | None = None,
    on_aged: Callable[[], None] | None = None,
    on_ticks: Callable[[], None] | None = None,
    on_picked: Callable[[], None] | None = None,
) -> str:
    """Draw a table and return the id of the row that was just opened, or an empty string. `name`: for screen readers.

    Handlers read the event with `sorted_by`, `ticks` and `picked`. A column with an empty `sorted` cannot be sorted.
    `remember`: a cookie that the browser keeps for a year. `ticks`: revision, selected ids, and spoken `names`.
    `outdated`: sort again as soon as nobody uses the table.
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
            "outdated": outdated,
            **({"remember": remember} if remember else {}),
            "ticks": _readable(ticks),
        },
        on_opened_change=_nothing,
        **_handlers(sorted=on_sorted, aged=on_aged, ticks=on_ticks, picked=on_picked),
    )
    return str(result.opened or "")


def sorted_by(key: str) -> Any:  # noqa: ANN401 - whatever the browser sent
    """Return the column whose header was clicked."""
    return st.session_state[key].sorted


def ticks(key: str) -> Any:  # noqa: ANN401 - whatever the browser sent
    """Return the selection that the browser reported."""
    return st.session_state[key].ticks


def picked(key: str) -> Any:  # noqa: ANN401 - whatever the browser sent
    """Return the value in a cell that was clicked."""
    return st.session_state[key].picked


def packed(rows: Cells) -> dict[str, Any]:
    """Encode rows for the browser: each distinct cell once, and the names of its values once for each kind of cell.

    A row is its id, its link and the numbers of its cells. Trailing empty texts of a cell are left out; every text is
    made readable.
    """
    shapes: dict[tuple[str, ...], int] = {}
    different: dict[str, int] = {}
    same: dict[int, int] = {}
    """By the identity of a cell: many are shared, see `kept_by_language`."""
    cells: list[list[Any]] = []

    def number(cell: Mapping[str, Any]) -> int:
        found = same.get(id(cell))
        if found is not None:
            return found
        known = same[id(cell)] = different.setdefault(repr(cell), len(cells))
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
    if isinstance(value, str):
        return readable(value)
    if value is None or isinstance(value, int | float):  # before the others, whose check takes long
        return value
    if isinstance(value, Mapping):
        return {name: _readable(each) for name, each in value.items()}
    return [_readable(each) for each in value] if isinstance(value, Sequence) else value


def _handlers(**handlers: Callable[[], None] | None) -> dict[str, Callable[[], None]]:
    return {f"on_{name}_change": handler or _nothing for name, handler in handlers.items()}


def _nothing() -> None:
    """Do nothing: a component returns only the values that have a callback."""
