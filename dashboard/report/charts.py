"""The geometry of the report's charts, in the units of their `viewBox`. Pure; `assets/report.html` draws them.

Invariants:
- A chart only repeats what the table beside it says in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dashboard.i18n.text import Word

WIDTH: Final = 720
HEIGHT: Final = 180
_LEFT: Final = 44
_GAP: Final = 0.15
_LABELS_MOST: Final = 10


@dataclass(frozen=True, slots=True)
class Bar:
    """A machine's bar: a share 0..1 of the whole width."""

    label: str
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars below each other."""

    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a column, in a tone."""

    tone: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """A day's column. An empty label is left out where there is no room for one."""

    x: float
    width: float
    label: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Stack:
    """Columns beside each other, each filled with shares."""

    title: str
    columns: Sequence[Column]
    legend: Sequence[Word]


@dataclass(frozen=True, slots=True)
class Trend:
    """What was measured as a line, and where it leads, as points of an SVG polyline; where the measuring ended."""

    title: str
    measured: str
    ahead: str
    start: str
    end: str


def stack(title: str, days: Sequence[tuple[str, Mapping[str, int]]], words: Mapping[str, Word]) -> Stack:
    """Of each day how its count is shared out; `words` are the codes in the order in which they are stacked."""
    width = (WIDTH - _LEFT) / max(1, len(days))
    every = -(-len(days) // _LABELS_MOST)
    columns = []
    for index, (label, counts) in enumerate(days):
        total, top, parts = sum(counts.values()), float(HEIGHT), []
        for code, word in words.items():
            height = HEIGHT * counts.get(code, 0) / total if total else 0.0
            top -= height
            if height:
                parts.append(Part(word.tone, round(top, 2), round(height, 2)))
        x = _LEFT + width * (index + _GAP / 2)
        shown = label if index % every == 0 else ""
        columns.append(Column(round(x, 2), round(width * (1 - _GAP), 2), shown, parts))
    return Stack(title, columns, list(words.values()))


def trend(title: str, days: Sequence[tuple[int, float]], full_at: int, labels: tuple[str, str]) -> Trend:
    """A used percentage by day, and the line from its last to 100 % at a moment. `labels`: of both ends of the time."""
    first, until = days[0][0], max(full_at, days[-1][0] + 1)

    def point(at: int, percent: float) -> str:
        x = _LEFT + (WIDTH - _LEFT) * (at - first) / (until - first)
        return f"{x:.1f},{HEIGHT * (1 - percent / 100):.1f}"

    measured = " ".join(point(at, percent) for at, percent in days)
    return Trend(title, measured, f"{point(*days[-1])} {point(until, 100.0)}", *labels)
