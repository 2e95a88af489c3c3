"""Chart options of ECharts from rows of history. Pure: no database, no Streamlit, no clock.

The plot of every chart has the same distance from its left and its right edge (LEFT, RIGHT), so that
`assets/chart_range.js` can tell the time below a pointer, and charts above each other have a common time axis.

Invariants:
- Missing data is a gap, never a line across it.
- The x axis is the requested range, so that two points never look like an hour.
- A counter that fell (a reboot) has no rate there, rather than a wrong one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dashboard.i18n.text import UnitScale

GAP_INTERVALS: Final = 2.5
POINTS_MAX: Final = 1000
LEFT: Final = 56
RIGHT: Final = 16
"""Pixels between an edge of a chart and its plot."""

MARKS_MAX: Final = 50
_SHORT_UNIT: Final = 2
_GRID: Final = {"left": LEFT, "right": RIGHT, "bottom": 24, "containLabel": False, "outerBoundsMode": "none"}
# It has one row, with pages if there are many lines: a second row would cover the chart.
_LEGEND: Final = {"type": "scroll", "top": 0, "left": 0, "icon": "roundRect", "itemWidth": 12, "itemHeight": 4}
_LINE: Final = {"type": "line", "connectNulls": False, "symbol": "none", "emphasis": {"disabled": True}}

Point = tuple[int, float | None]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A line of a chart. `low` and `high`: minimum and maximum at the same times, if the points are averages.

    `of`: it shows an earlier time of the line with this number, and is dashed in its colour.
    """

    name: str
    points: Sequence[Point]
    low: Sequence[Point] = ()
    high: Sequence[Point] = ()
    of: int | None = None


@dataclass(frozen=True, slots=True)
class ChartMark:
    """An event in a chart: a vertical line, and an area until `until` if that is known. `colour`: of CSS."""

    at: int
    colour: str
    until: int | None = None


def step(range_milliseconds: int, interval_seconds: float, row_milliseconds: int = 0) -> int:
    """Return the milliseconds between two points, so that a range never has more than POINTS_MAX points.

    At least half an interval: two consecutive samples never merge. A multiple of `row_milliseconds`.
    """
    least = max(1, round(interval_seconds * 500), -(-range_milliseconds // (POINTS_MAX - 1)))
    return -(-least // row_milliseconds) * row_milliseconds if row_milliseconds else least


def spacing(step_milliseconds: int, interval_seconds: float) -> float:
    """Return the milliseconds between two points without missing data."""
    return max(float(step_milliseconds), interval_seconds * 1000)


def readings(rows: Iterable[Row], name: str, *, spacing: float) -> list[Point]:
    """Return a column as points. `spacing`: milliseconds between two of them without missing data."""
    return with_gaps(((row["at"], row[name]) for row in rows), spacing=spacing)


def rates(rows: Iterable[Row], name: str, *, spacing: float) -> list[Point]:
    """Return a counter's increase per second as points."""
    points: list[Point] = []
    before: Point | None = None
    for row in rows:
        now: Point = (row["at"], row[name])
        if before is not None:
            points.append((now[0], _rate(before, now, spacing)))
        before = now
    return with_gaps(points, spacing=spacing)


def with_gaps(points: Iterable[Point], *, spacing: float) -> list[Point]:
    """Insert a None between two points that are further apart than GAP_INTERVALS times the spacing."""
    result: list[Point] = []
    for at, value in points:
        if result and at - result[-1][0] > GAP_INTERVALS * spacing:
            result.append((result[-1][0] + round(spacing), None))
        result.append((at, value))
    return result


def has_values(points: Iterable[Point]) -> bool:
    """Return True if any point has a value."""
    return any(value is not None for _, value in points)


def top(lines: Iterable[ChartLine]) -> float:
    """Return the largest absolute value, to choose the unit of the axis."""
    return max((abs(value) for line in lines for _, value in line.points if value is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class ChartFrame:
    """All of a chart but its lines. `bounds`: ends of the y axis, None for automatic.

    `ink`: colour of the text. `colours`: of the lines. `day`: ECharts template of a date.
    """

    start: int
    end: int
    scale: UnitScale
    bounds: tuple[float | None, float | None]
    day: str
    ink: str
    colours: Sequence[str] = ()
    marks: Sequence[ChartMark] = ()


def options(lines: Sequence[ChartLine], frame: ChartFrame) -> dict[str, Any]:
    """Return the chart of these lines over a fixed range."""
    low, high = frame.bounds
    words = {"color": frame.ink, "fontSize": 12}
    several = len(lines) > 1
    time_axis = {"type": "time", "min": frame.start, "max": frame.end, "splitLine": {"show": False}}
    value_axis = {"type": "value", "min": low, "max": high, "splitNumber": 4}
    bands = [series for line in lines if line.high for series in _band(line, frame.scale)]
    drawn = [_series(line, frame, filled=not several and not line.high) for line in lines]
    if drawn:
        drawn[0] |= _marks(frame)
    return {
        "animation": False,
        "color": list(frame.colours) or None,
        "grid": {**_GRID, "top": 34 if several else 14},
        "legend": {**_LEGEND, "show": several, "textStyle": words, "pageTextStyle": words, "pageIconColor": frame.ink},
        "tooltip": {"trigger": "axis", "confine": True, "axisPointer": {"animation": False}},
        "xAxis": {
            **time_axis,
            "axisLabel": {**words, "hideOverlap": True, "formatter": {"month": frame.day, "day": frame.day}},
        },
        "yAxis": {
            **value_axis,
            "interval": (high - low) / 4 if low is not None and high is not None else None,
            "axisLabel": {**words, "width": LEFT - 8, "overflow": "truncate", "formatter": _label(frame.scale.unit)},
        },
        "series": [*drawn, *bands],
    }


def _label(unit: str) -> str:
    """Return the template of a value on the axis; a longer unit is in the heading of the chart."""
    return f"{{value}} {_template_safe(unit)}".strip() if is_short(unit) else "{value}"


def is_short(unit: str) -> bool:
    """Return True if a unit has room beside each value of the axis."""
    return len(unit) <= _SHORT_UNIT


def _marks(frame: ChartFrame) -> dict[str, Any]:
    """Return the marks within the range, to be drawn with one of the lines."""
    inside = [mark for mark in frame.marks if mark.at <= frame.end and (mark.until or mark.at) >= frame.start]
    inside = inside[:MARKS_MAX]
    if not inside:
        return {}
    lines = [
        {"xAxis": mark.at, "lineStyle": {"color": mark.colour, "type": "dashed", "width": 1, "opacity": 0.8}}
        for mark in inside
        if mark.at >= frame.start
    ]
    areas = [
        [
            {"xAxis": max(mark.at, frame.start), "itemStyle": {"color": mark.colour, "opacity": 0.07}},
            {"xAxis": min(mark.until, frame.end)},
        ]
        for mark in inside
        if mark.until is not None
    ]
    silent = {"silent": True, "symbol": "none", "label": {"show": False}, "animation": False}
    return {"markLine": {**silent, "data": lines}, "markArea": {**silent, "data": areas}}


def _series(line: ChartLine, frame: ChartFrame, *, filled: bool) -> dict[str, Any]:
    series = {**_LINE, "name": line.name, "data": _data(line.points, frame.scale.factor)}
    if line.of is not None:
        colour = {"color": frame.colours[line.of % len(frame.colours)]} if frame.colours else {}
        return {**series, "lineStyle": {"width": 1.2, "type": "dashed", "opacity": 0.75}, "itemStyle": colour}
    series |= {"lineStyle": {"width": 1.6}}
    return {**series, "areaStyle": {"opacity": 0.12}} if filled else series


def _band(line: ChartLine, scale: UnitScale) -> list[dict[str, Any]]:
    """Return the area from minimum to maximum: an invisible line, and an area stacked on it.

    They have the line's name, and thereby its colour and its entry in the legend.
    """
    heights = [
        (at, None if low is None or high is None else high - low)
        for (at, low), (_, high) in zip(line.low, line.high, strict=True)
    ]
    common = {
        **_LINE,
        "name": line.name,
        "stack": f"band of {line.name}",
        "stackStrategy": "all",
        "silent": True,
        "lineStyle": {"opacity": 0},
        "tooltip": {"show": False},
    }
    return [
        {**common, "data": _plain_data(line.low, scale.factor)},
        {**common, "data": _plain_data(heights, scale.factor), "areaStyle": {"opacity": 0.18}},
    ]


def _plain_data(points: Sequence[Point], factor: float) -> list[Any]:
    return [[at, None if value is None else _rounded(value / factor)] for at, value in points]


def _data(points: Sequence[Point], factor: float) -> list[Any]:
    """Return points for ECharts. An isolated point has no line, so it gets a dot."""
    data: list[Any] = []
    for i, (at, value) in enumerate(points):
        if value is None:
            data.append([at, None])
            continue
        shown = [at, _rounded(value / factor)]
        alone = (i == 0 or points[i - 1][1] is None) and (i + 1 == len(points) or points[i + 1][1] is None)
        data.append({"value": shown, "symbol": "circle", "symbolSize": 4} if alone else shown)
    return data


def _rate(before: Point, now: Point, spacing: float) -> float | None:
    seconds = (now[0] - before[0]) / 1000
    if before[1] is None or now[1] is None or seconds <= 0 or seconds * 1000 > GAP_INTERVALS * spacing:
        return None
    growth = now[1] - before[1]
    return growth / seconds if growth >= 0 else None


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")  # as precise as a screen can show


def _template_safe(unit: str) -> str:
    """Remove what ECharts would read as a placeholder."""
    return unit.replace("{", "").replace("}", "")
