"""Newest readings and charts of devices, the worst first. Pure.

Invariants:
- A chart has at most LINES_MAX lines: those of the devices that are the worst now.
- A counter is shown as its increase per second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dashboard.i18n import text
from dashboard.i18n.device_kinds import kind_title
from dashboard.i18n.language import _
from dashboard.i18n.text import UnitScale
from dashboard.machine.charts import Chart
from dashboard.series.device_groups import DeviceGroup, DeviceMetric
from dashboard.widgets import charts
from dashboard.widgets.charts import ChartLine

LINES_MAX: Final = 10
MOUNT: Final = "mount"
_LONG_COUNT, _MILLIONS = 1e5, 1e6
_SHARE: Final = (0.0, 100.0)

History = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Metric to device to rows (`schemas.database.series.history`)."""

Latest = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """The devices of one kind: column titles, and a row of texts for each device."""

    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


def tables(
    group: DeviceGroup, latest: Latest, history: History, spacing: float, full: Mapping[str, str] | None = None
) -> list[DeviceTable]:
    """Return a table for each kind of devices, the worst by the first metric first.

    `full`: when a file system will be full, by mount point.
    """
    found = []
    for kind in group.kinds:
        metrics = [metric for metric in group.metrics if metric.kind == kind]
        values = {metric.name: current(metric, latest, history, spacing) for metric in metrics}
        devices = list(dict.fromkeys(device for metric in metrics for device in latest.get(metric.name, {})))
        devices.sort(key=lambda device: _worse(metrics[0], values[metrics[0].name].get(device), device))
        rows = [
            (text.readable(device), [_shown(metric, values[metric.name].get(device)) for metric in metrics])
            for device in devices
        ]
        heads = [metric.title for metric in metrics]
        if kind == MOUNT and full:
            heads.append(_("Full"))
            ends = [full.get(device, text.UNKNOWN) for device in devices]
            rows = [(name, [*cells, end]) for (name, cells), end in zip(rows, ends, strict=True)]
        found.append(DeviceTable(kind_title(kind), heads, rows))
    return found


def device_charts(group: DeviceGroup, latest: Latest, history: History, spacing: float) -> list[Chart]:
    """Return a chart for each metric that has a value."""
    found = []
    for metric in group.metrics:
        values = current(metric, latest, history, spacing)
        rows = history.get(metric.name, {})
        chosen = sorted(rows, key=lambda device: _worse(metric, values.get(device), device))[:LINES_MAX]
        lines = [_line(metric, device, rows[device], spacing) for device in chosen]
        if any(charts.has_values(line.points) for line in lines):
            title = (
                metric.title
                if len(group.kinds) == 1
                else _("{name}: {value}", name=kind_title(metric.kind), value=metric.title)
            )
            if len(rows) > LINES_MAX:
                title += " · " + _("worst {n} of {total}", n=str(LINES_MAX), total=str(len(rows)))
            bounds = _SHARE if metric.unit == "percent" and not metric.is_counter else (None, None)
            found.append(Chart(f"series_{metric.name}", title, lines, _scale(metric, lines), bounds))
    return found


def current(metric: DeviceMetric, latest: Latest, history: History, spacing: float) -> dict[str, float]:
    """Return the newest value of each device; of a counter the newest rate that is known."""
    if not metric.is_counter:
        return dict(latest.get(metric.name, {}))
    found = {}
    for device, rows in history.get(metric.name, {}).items():
        points = charts.rates(rows, "value", spacing=spacing)
        if points and (rate := points[-1][1]) is not None and device in latest.get(metric.name, {}):
            found[device] = rate
    return found


def _worse(metric: DeviceMetric, value: float | None, device: str) -> tuple[bool, float, str]:
    sign = 1 if metric.lower_is_worse else -1
    return value is None, sign * (value or 0.0), device


def _shown(metric: DeviceMetric, value: float | None) -> str:
    if value is None:
        return text.UNKNOWN
    if not metric.is_counter:
        return text.quantity(value, metric.unit)
    return text.byte_rate(value) if metric.unit == "bytes" else f"{text.quantity(value, metric.unit)}/s"


def _line(metric: DeviceMetric, device: str, rows: Sequence[Mapping[str, Any]], spacing: float) -> ChartLine:
    read = charts.rates if metric.is_counter else charts.readings
    name, points = text.readable(device), read(rows, "value", spacing=spacing)
    return ChartLine(name, points)


def _scale(metric: DeviceMetric, lines: Sequence[ChartLine]) -> UnitScale:
    if metric.unit == "bytes":
        return (text.rate_scale if metric.is_counter else text.size_scale)(charts.top(lines))
    symbol = "%" if metric.unit == "percent" else text.unit_symbol(metric.unit)
    return count_scale(charts.top(lines), f"{symbol}/s" if metric.is_counter else symbol)


def count_scale(value: float, unit: str) -> UnitScale:
    """Return the scale for a number of a unit: thousands or millions where the axis has no room for every digit."""
    if value < _LONG_COUNT:
        return UnitScale(unit, 1.0)
    return UnitScale(f"M {unit}", 1e6) if value >= _MILLIONS else UnitScale(f"k {unit}", 1e3)
