"""The contract of a section of the settings page: one module in `sections/` that exposes `SECTION` and `show`.

SECTION = SettingsSection(title=marked("Tokens"), code="tokens", order=2)

def show(context: PageContext) -> None: ...

Invariant: `show` runs in a fragment that refreshes; dialogs are requested from `dashboard.page.dialog_steps`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import streamlit as st

from dashboard.i18n.language import Marked, _
from dashboard.page import dialog_steps
from dashboard.page.dialog_steps import Draw
from dashboard.page.page import Show, modules_of
from dashboard.widgets import cells, table


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """A section: its title on the page, its code in the address, and the path of its page."""

    title: Marked
    code: str
    order: int = 100
    path: str = "/settings"


@dataclass(frozen=True, slots=True)
class SectionRow:
    """A row of a section's table, and the form of the dialog that it opens; the dialog's title is by default the id."""

    id: str
    cells: Sequence[Mapping[str, Any]]
    form: Draw
    title: str = ""


@cache
def discover_sections(package: ModuleType) -> tuple[tuple[SettingsSection, Show], ...]:
    """Return the sections of a package with their `show`, in page order."""
    found = ((module.SECTION, module.show) for module in modules_of(package))
    return tuple(sorted(found, key=lambda pair: (pair[0].order, pair[0].code)))


def draw_table(section: SettingsSection, columns: cells.Heads, rows: Sequence[SectionRow]) -> None:
    """Draw the table of a section; a click on a row opens its dialog."""
    shown = [cells.row(row.id, f"{section.path}?section={section.code}", *row.cells) for row in rows]
    opened = table.draw(f"settings_{section.code}", _(section.title), cells.columns(columns), shown, total=len(rows))
    for row in rows:
        if row.id == opened:
            dialog_steps.request(row.title or row.id, row.form)
            st.rerun()
