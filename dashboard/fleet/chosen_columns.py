"""Columns of the fleet table that a visitor chooses: titles, cells, and the choice that the browser remembers. Pure.

Invariants:
- A cookie is a proposal of the browser: anything but known codes in it is ignored.
- An address says what it shows: the cookie counts only where the address says nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from sqlalchemy import Row

from dashboard.facts import texts
from dashboard.i18n import external_texts, text
from dashboard.i18n.device_kinds import kind_title
from dashboard.i18n.language import Marked, _, marked
from dashboard.widgets import cells
from schemas.database.chosen_columns import EXTRA, FACTS, SERIES
from schemas.database.series.fleet_columns import ChosenNumber, ColumnChoice, Numbers
from schemas.series.worst_device import lower_is_worse

COOKIE: Final = "dashfleet-columns"
_COOKIE_MAX: Final = 1000
_COUNTED: Final[Mapping[str, Marked]] = {
    "containers": marked("Stopped containers"),
    "services": marked("Failed services"),
    "updates": marked("Pending updates"),
}
"""Titles of the columns of lists in which something else than trouble is counted."""

Choices = Mapping[str, ColumnChoice]


def falls_first(code: str) -> bool:
    """Return whether the first click on a column's header sorts in descending order: the worst first."""
    return not lower_is_worse(code.removeprefix(SERIES)) and code.startswith((SERIES, EXTRA, FACTS))


def title(code: str, choices: Choices) -> str:
    """Return the title of a column."""
    name = code.removeprefix(SERIES).removeprefix(EXTRA).removeprefix(FACTS)
    if code.startswith(FACTS):
        return _(_COUNTED[name]) if name in _COUNTED else _("{list}: problems", list=texts.title(name))
    found = choices.get(code)
    shown = external_texts.translated_metric(found.title) if found and found.title else name
    known = text.readable(shown)
    if found and found.device and known != kind_title(found.device):
        known = _("{name}: {value}", name=kind_title(found.device), value=known)
    if not code.startswith(SERIES):
        return known
    return _("{metric}, lowest", metric=known) if lower_is_worse(name) else _("{metric}, highest", metric=known)


@dataclass(frozen=True, slots=True)
class ChosenColumns:
    """The columns of these codes, with the choices that are known and the numbers of the machines on the page."""

    codes: Sequence[str]
    choices: Choices
    numbers: Numbers
    now: int
    zone: tzinfo

    @property
    def heads(self) -> list[dict[str, str]]:
        """The headers."""
        return [{"code": code, "label": title(code, self.choices)} for code in self.codes]

    def cells(self, row: Row[Any]) -> list[dict[str, Any]]:
        """Return the cells of a machine; those that are not current are greyed."""
        mine = self.numbers.get(row.name, {})
        found = [_cell(mine.get(code), self.choices.get(code)) for code in self.codes]
        return (
            found if row.current else [cells.aged(cell, text.as_of(row.as_of, self.now, self.zone)) for cell in found]
        )


def written(columns: Sequence[str], readings: Sequence[str]) -> str:
    """Return chosen labels and readings as a cookie."""
    return f"{COOKIE}={urlencode({'columns': ','.join(columns), 'readings': ','.join(readings)})}"


def remembered(cookie: str) -> dict[str, str]:
    """Return the query of an address for the columns in the value of a cookie."""
    found = parse_qs(cookie[:_COOKIE_MAX])
    return {name: found[name][0] for name in ("columns", "readings") if name in found}


def _cell(found: ChosenNumber | None, choice: ColumnChoice | None) -> dict[str, Any]:
    if found is None:
        return cells.plain(text.UNKNOWN)
    return cells.plain(text.quantity(found.value, choice.unit if choice else ""), detail=text.readable(found.device))
