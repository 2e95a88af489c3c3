"""The contract of a section of the settings page: one file in `sections/` that exposes `SECTION` and `show`.

SECTION = Section(title=marked("Tokens"), code="tokens", order=2)

def show(context: Context) -> None: ...

Invariant: `show` runs in a fragment that refreshes; what it asks for is opened by `dashboard.changes.change_dialog`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import streamlit as st

from dashboard.i18n.language import Marked, _
from dashboard.page.page import Show, modules_of
from dashboard.widgets import cells, table


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """A section: its name on the page, and its code in the address."""

    title: Marked
    code: str
    order: int = 100


@cache
def discover_sections(package: ModuleType) -> tuple[tuple[SettingsSection, Show], ...]:
    """Return the sections of a package with their `show`, in page order."""
    found = ((module.SECTION, module.show) for module in modules_of(package))
    return tuple(sorted(found, key=lambda pair: (pair[0].order, pair[0].code)))


def draw_table(
    section: SettingsSection,
    columns: cells.Heads,
    rows: table.Cells,
    ask: Mapping[str, Callable[[], None]],
) -> None:
    """Draw what a section lists. `ask`: what opens the dialog about a row, by the row's id."""
    opened = table.draw(f"settings_{section.code}", _(section.title), cells.columns(columns), rows, total=len(rows))
    if opened in ask:
        ask[opened]()
        st.rerun()
