"""Sections and tables of a report, and the forms of their values. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from babel.dates import format_date

from dashboard.i18n import language, text
from dashboard.i18n.language import _
from dashboard.i18n.text import UNKNOWN, Word
from dashboard.report.charts import BarChart, StackedChart, TrendChart
from dashboard.report.summary import MachineSummary
from schemas.fleet.forecast import Forecast, Outlook

ROWS_MAX: Final = 1000
_OUTLOOKS: Final = (Outlook.FULL, Outlook.SLOW, Outlook.NO_TREND, Outlook.SHORT)

Cells = Sequence[str | Word]
Columns = Mapping[str, Callable[[MachineSummary], str | Word]]
"""A table's columns by title: how to get a machine's cell."""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table with a caption. The first column names the row; the last `figures` columns are numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Cells]
    figures: int = 0

    @property
    def shown(self) -> Sequence[Cells]:
        """The first ROWS_MAX rows."""
        return self.rows[:ROWS_MAX]

    @property
    def rest(self) -> str:
        """Number of rows that are left out, as text."""
        left = len(self.rows) - ROWS_MAX
        return text.and_more(left) if left > 0 else ""


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A section: its anchor, title, introduction, charts and tables."""

    name: str
    title: str
    lead: str
    tables: Sequence[ReportTable]
    bars: Sequence[BarChart] = ()
    stack: StackedChart | None = None
    trends: Sequence[TrendChart] = ()


def by_machine(caption: str, machines: Iterable[MachineSummary], columns: Columns, figures: int) -> ReportTable:
    """Return a table with a row for each machine."""
    rows: list[Cells] = [(each.name, *(cell(each) for cell in columns.values())) for each in machines]
    return ReportTable(caption, (_("Machine"), *columns), rows, figures)


def percent(value: float | None) -> str:
    """Return a percentage with a decimal."""
    return UNKNOWN if value is None else f"{text.fixed(value, 1)} %"


def utc(at: int) -> datetime:
    """Return a time in milliseconds as one of UTC."""
    return datetime.fromtimestamp(at / 1000, UTC)


def day(at: int) -> str:
    """Return the day of a time."""
    return format_date(utc(at).date(), "medium", locale=language.locale())


def trend(found: Forecast) -> str:
    """Return how fast a disk fills."""
    return UNKNOWN if found.per_day is None else _("{points} points a day", points=text.fixed(found.per_day, 2))


def outlook(found: Forecast) -> str | Word:
    """Return when a disk will be full."""
    match found.outlook:
        case Outlook.FULL:
            return Word(day(found.full_at or 0), "bad")
        case Outlook.SLOW:
            return _("not within a year")
        case Outlook.NO_TREND:
            return _("no trend")
        case Outlook.SHORT:
            return _("too few days")


def soonest_first(found: Forecast) -> tuple[int, int]:
    """Return the place of a forecast among others."""
    return _OUTLOOKS.index(found.outlook), found.full_at or 0
