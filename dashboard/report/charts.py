"""Geometry of the report's charts, in the units of their `viewBox`. Pure; `assets/report.html` draws them.

Invariant: a chart only repeats what the table beside it contains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dashboard.i18n.text import Word

WIDTH: Final = 720
HEIGHT: Final = 180
_LEFT: Final = 44
_GAP: Final = 0.15
_LABELS_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class BarChart:
    """Horizontal bars: each a label, a share 0..1 of the width, and the value as text."""

    title: str
    bars: Sequence[tuple[str, float, str]]


@dataclass(frozen=True, slots=True)
class StackedColumn:
    """A day's column. `parts`: tone, y and height. The label is empty where there is no room for one."""

    x: float
    width: float
    label: str
    parts: Sequence[tuple[str, float, float]]


@dataclass(frozen=True, slots=True)
class StackedChart:
    """Columns side by side, each divided into shares."""

    title: str
    columns: Sequence[StackedColumn]
    legend: Sequence[Word]


@dataclass(frozen=True, slots=True)
class TrendChart:
    """A measured line and its extrapolation, as points of SVG polylines; the labels of both ends of the x axis."""

    title: str
    measured: str
    ahead: str
    start: str
    end: str


def stack(title: str, days: Sequence[tuple[str, Mapping[str, int]]], words: Mapping[str, Word]) -> StackedChart:
    """Return the shares of each day's counts. `words`: labels by code, in stacking order."""
    width = (WIDTH - _LEFT) / max(1, len(days))
    every = -(-len(days) // _LABELS_MAX)
    columns = []
    for index, (label, counts) in enumerate(days):
        total, top, parts = sum(counts.values()), float(HEIGHT), []
        for code, word in words.items():
            height = HEIGHT * counts.get(code, 0) / total if total else 0.0
            top -= height
            if height:
                parts.append((word.tone, round(top, 2), round(height, 2)))
        x = _LEFT + width * (index + _GAP / 2)
        shown = label if index % every == 0 else ""
        columns.append(StackedColumn(round(x, 2), round(width * (1 - _GAP), 2), shown, parts))
    return StackedChart(title, columns, list(words.values()))


def trend(title: str, days: Sequence[tuple[int, float]], full_at: int, labels: tuple[str, str]) -> TrendChart:
    """Return a used percentage by day, and the line from its last value to 100 % at `full_at`."""
    first, until = days[0][0], max(full_at, days[-1][0] + 1)

    def point(at: int, percent: float) -> str:
        x = _LEFT + (WIDTH - _LEFT) * (at - first) / (until - first)
        return f"{x:.1f},{HEIGHT * (1 - percent / 100):.1f}"

    measured = " ".join(point(at, percent) for at, percent in days)
    return TrendChart(title, measured, f"{point(*days[-1])} {point(until, 100.0)}", *labels)
