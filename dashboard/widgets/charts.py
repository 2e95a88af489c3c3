"""Chart options of ECharts from rows of history. Pure: no database, no Streamlit, no clock.

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
_LEGEND: Final = {"top": 0, "left": 0, "icon": "roundRect", "itemWidth": 12, "itemHeight": 4}
_LINE: Final = {"type": "line", "connectNulls": False, "symbol": "none", "emphasis": {"disabled": True}}

Point = tuple[int, float | None]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A line of a chart. `low` and `high`: minimum and maximum at the same times, if the points are averages."""

    name: str
    points: Sequence[Point]
    low: Sequence[Point] = ()
    high: Sequence[Point] = ()


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


def options(
    lines: Sequence[ChartLine],
    *,
    start: int,
    end: int,
    scale: UnitScale,
    bounds: tuple[float | None, float | None],
    day: str,
    ink: str,
) -> dict[str, Any]:
    """Return the chart of these lines over a fixed range. `bounds`: ends of the y axis, None for automatic.

    `ink`: colour of the text. `day`: ECharts template of a date.
    """
    low, high = bounds
    words = {"color": ink, "fontSize": 12}
    several = len(lines) > 1
    time_axis = {"type": "time", "min": start, "max": end, "splitLine": {"show": False}}
    value_axis = {"type": "value", "min": low, "max": high, "splitNumber": 4}
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 34 if several else 14, "bottom": 4, "containLabel": True},
        "legend": {**_LEGEND, "show": several, "textStyle": words},
        "tooltip": {"trigger": "axis", "axisPointer": {"animation": False}},
        "xAxis": {
            **time_axis,
            "axisLabel": {**words, "hideOverlap": True, "formatter": {"month": day, "day": day}},
        },
        "yAxis": {
            **value_axis,
            "interval": (high - low) / 4 if low is not None and high is not None else None,
            "axisLabel": {**words, "formatter": f"{{value}} {_template_safe(scale.unit)}".strip()},
        },
        "series": [
            *(_series(line, scale, filled=not several and not line.high) for line in lines),
            *(series for line in lines if line.high for series in _band(line, scale)),
        ],
    }


def _series(line: ChartLine, scale: UnitScale, *, filled: bool) -> dict[str, Any]:
    data = _data(line.points, scale.factor)
    series = {**_LINE, "name": line.name, "lineStyle": {"width": 1.6}, "data": data}
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
