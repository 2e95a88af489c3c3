"""Charts of a machine's history. Pure.

The vitals have fixed charts. Each extra metric that the machine describes in its `info` has a chart with its title and
unit, so that a new collector appears here without an edit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dashboard.i18n import external_texts, text
from dashboard.i18n.language import _, pgettext
from dashboard.i18n.text import UnitScale
from dashboard.widgets import charts
from dashboard.widgets.charts import ChartLine, Row
from schemas.contract.messages import VITALS

_ZERO_UP: Final = (0.0, None)
_OPEN: Final = (None, None)
_PLAIN: Final = UnitScale("", 1.0)
_PERCENT: Final = UnitScale("%", 1.0)


@dataclass(frozen=True, slots=True)
class ExtraMetric:
    """A metric beyond the vitals, as the machine describes it."""

    name: str
    title: str
    unit: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A titled chart. `key` stays the same over refreshes; a `wide` chart takes the whole width."""

    key: str
    title: str
    lines: Sequence[ChartLine]
    scale: UnitScale
    bounds: tuple[float | None, float | None] = _ZERO_UP
    wide: bool = False


def metrics(info: Mapping[str, Any] | None) -> list[ExtraMetric]:
    """Return the metrics beyond the vitals that the machine describes."""
    described = (info or {}).get("metrics") or ()
    return [
        ExtraMetric(
            str(each["name"]),
            text.readable(external_texts.translated(str(each.get("title") or each["name"]))),
            str(each.get("unit", "")),
        )
        for each in described
        if each["name"] not in VITALS
    ]


def of_history(rows: Sequence[Row], extras: Sequence[ExtraMetric], *, spacing: float) -> list[Chart]:
    """Return the charts for these rows, without charts that have no value."""
    every = [*_vital_charts(rows, spacing), *(_extra_chart(rows, metric, spacing) for metric in extras)]
    return [chart for chart in every if any(charts.has_values(line.points) for line in chart.lines)]


def _vital_charts(rows: Sequence[Row], spacing: float) -> list[Chart]:
    def line(name: str, title: str) -> ChartLine:
        return _line(rows, name, title, spacing)

    shares = [line("cpu_percent", _("CPU")), line("memory_percent", _("Memory")), line("disk_percent", _("Disk"))]
    swap = line("swap_percent", _("Swap"))
    traffic = [
        ChartLine(pgettext("network", "Received"), charts.rates(rows, "network_received_bytes", spacing=spacing)),
        ChartLine(pgettext("network", "Sent"), charts.rates(rows, "network_sent_bytes", spacing=spacing)),
    ]
    if any(value for _, value in swap.points):
        shares.append(swap)
    return [
        Chart("usage", _("CPU, memory and disk"), shares, _PERCENT, (0.0, 100.0), wide=True),
        Chart("network", _("Network"), traffic, text.rate_scale(charts.top(traffic))),
        Chart("load", _("Load, 1 minute"), [line("load_1m", _("Load"))], _PLAIN),
        Chart("processes", _("Processes"), [line("process_count", _("Processes"))], _PLAIN),
        Chart(
            "temperature",
            _("Temperature"),
            [line("temperature_celsius", _("Temperature"))],
            UnitScale(text.unit_symbol("celsius"), 1.0),
            _OPEN,
        ),
    ]


def _extra_chart(rows: Sequence[Row], metric: ExtraMetric, spacing: float) -> Chart:
    lines = [_line(rows, f"extra.{metric.name}", metric.title, spacing)]
    scale = (
        text.size_scale(charts.top(lines)) if metric.unit == "bytes" else UnitScale(text.unit_symbol(metric.unit), 1.0)
    )
    bounds = (0.0, 100.0) if metric.unit == "percent" else _OPEN
    return Chart(f"extra.{metric.name}", metric.title, lines, scale, bounds)


def _line(rows: Sequence[Row], name: str, title: str, spacing: float) -> ChartLine:
    """Return a column as a line, with minimum and maximum where the rows have them."""

    def points(column: str) -> Sequence[charts.Point]:
        return charts.readings(rows, column, spacing=spacing)

    if not rows or f"{name}:min" not in rows[0]:
        return ChartLine(title, points(name))
    return ChartLine(title, points(name), low=points(f"{name}:min"), high=points(f"{name}:max"))
