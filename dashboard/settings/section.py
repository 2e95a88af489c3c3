"""The contract of a section of the settings page: one file in `sections/` that exposes `SECTION` and `show`.

SECTION = Section(title=marked("Tokens"), code="tokens", order=2)

def show(context: Context) -> None: ...

Invariant: `show` runs in a fragment that refreshes; what it asks for is opened by `dashboard.settings.change_dialog`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.i18n.language import Marked, _
from dashboard.page.page import Show
from dashboard.widgets import cells, table


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its name on the page, and its code in the address."""

    title: Marked
    code: str
    order: int = 100


def discover() -> Sequence[tuple[Section, Show]]:
    """Every section in `sections/`, in the order of the page."""
    import dashboard.settings.sections

    found = []
    for module in pkgutil.iter_modules(dashboard.settings.sections.__path__):
        section = importlib.import_module(f"dashboard.settings.sections.{module.name}")
        found.append((section.SECTION, section.show))
    return sorted(found, key=lambda pair: (pair[0].order, pair[0].code))


def draw_table(
    section: Section, columns: tuple[tuple[str, Marked], ...], rows: table.Cells, ask: Mapping[str, Callable[[], None]]
) -> None:
    """Draw what a section lists. `ask`: what opens the dialog about a row, by the row's id."""
    opened = table.draw(f"settings_{section.code}", _(section.title), cells.columns(columns), rows, total=len(rows))
    if opened in ask:
        ask[opened]()
        st.rerun()
