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
_SHARE: Final = (0.0, 100.0)
_COUNTERS: Final = ("network_received_bytes", "network_sent_bytes")
_PERCENT: Final = UnitScale("%", 1.0)


@dataclass(frozen=True, slots=True)
class ExtraMetric:
    """A metric beyond the vitals, as the machine describes it, or a vital with a chart of its own."""

    name: str
    title: str
    unit: str
    vital: bool = False

    @property
    def column(self) -> str:
        """The name of the column in rows of history."""
        return self.name if self.vital else f"extra.{self.name}"


@dataclass(frozen=True, slots=True)
class Chart:
    """A titled chart. `key` stays the same over refreshes; a `wide` chart takes the whole width."""

    key: str
    title: str
    lines: Sequence[ChartLine]
    scale: UnitScale
    bounds: tuple[float | None, float | None] = _ZERO_UP
    wide: bool = False


@dataclass(frozen=True, slots=True)
class MachineHistory:
    """The rows of one of several machines. `spacing`: milliseconds between two without missing data."""

    name: str
    rows: Sequence[Row]
    spacing: float


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
        if each["name"] not in VITALS and each.get("location") != "series"
    ]


def of_history(
    rows: Sequence[Row],
    extras: Sequence[ExtraMetric],
    *,
    spacing: float,
    earlier: Sequence[Row] = (),
    earlier_name: str = "",
) -> list[Chart]:
    """Return the charts for these rows, without charts that have no value.

    `earlier`: rows of an earlier time, already moved to the time of the others; `earlier_name` names it.
    """
    before = f"{{}} ({earlier_name})"

    def lines(*named: tuple[str, str]) -> list[ChartLine]:
        now = [_line(rows, name, title, spacing) for name, title in named]
        old = [_line(earlier, name, before.format(title), spacing, of=i) for i, (name, title) in enumerate(named)]
        return [*now, *(line for line in old if charts.has_values(line.points))]

    usage = [("cpu_percent", _("CPU")), ("memory_percent", _("Memory")), ("disk_percent", _("Disk"))]
    if any(row["swap_percent"] for row in rows):
        usage.append(("swap_percent", _("Swap")))
    every = [
        Chart("usage", _("CPU, memory and disk"), lines(*usage), _PERCENT, _SHARE, wide=True),
        _network(lines(*_traffic())),
        *(_chart_of(metric, lines((metric.column, metric.title))) for metric in [*_single_vitals(), *extras]),
    ]
    return [chart for chart in every if any(charts.has_values(line.points) for line in chart.lines)]


def of_machines(histories: Sequence[MachineHistory], extras: Sequence[ExtraMetric]) -> list[Chart]:
    """Return a chart per reading with a line for each machine, in the same order in each chart."""

    def lines(column: str) -> list[ChartLine]:
        return [ChartLine(each.name, _points(each.rows, column, each.spacing)) for each in histories]

    shares = (("cpu_percent", _("CPU")), ("memory_percent", _("Memory")), ("disk_percent", _("Disk")))
    every = [
        *(Chart(column, title, lines(column), _PERCENT, _SHARE) for column, title in shares),
        *(_network(lines(column), column, f"{_('Network')}: {title}") for column, title in _traffic()),
        *(_chart_of(metric, lines(metric.column)) for metric in [*_single_vitals(), *extras]),
    ]
    return [chart for chart in every if any(charts.has_values(line.points) for line in chart.lines)]


def _traffic() -> list[tuple[str, str]]:
    return [
        ("network_received_bytes", pgettext("network", "Received")),
        ("network_sent_bytes", pgettext("network", "Sent")),
    ]


def _single_vitals() -> list[ExtraMetric]:
    """Return the vitals that have a chart of their own."""
    return [
        ExtraMetric("load_1m", _("Load, 1 minute"), "count", vital=True),
        ExtraMetric("process_count", _("Processes"), "count", vital=True),
        ExtraMetric("temperature_celsius", _("Temperature"), "celsius", vital=True),
    ]


def _network(lines: Sequence[ChartLine], key: str = "network", title: str = "") -> Chart:
    return Chart(key, title or _("Network"), lines, text.rate_scale(charts.top(lines)))


def _chart_of(metric: ExtraMetric, lines: Sequence[ChartLine]) -> Chart:
    scale = (
        text.size_scale(charts.top(lines)) if metric.unit == "bytes" else UnitScale(text.unit_symbol(metric.unit), 1.0)
    )
    bounds = _SHARE if metric.unit == "percent" else _ZERO_UP if metric.unit == "count" else _OPEN
    return Chart(metric.column, metric.title, lines, scale, bounds)


def _line(rows: Sequence[Row], name: str, title: str, spacing: float, *, of: int | None = None) -> ChartLine:
    """Return a column as a line, with minimum and maximum if the rows have them and it is not an earlier one."""
    if of is not None or not rows or f"{name}:min" not in rows[0]:
        return ChartLine(title, _points(rows, name, spacing), of=of)
    low, high = (_points(rows, f"{name}:{end}", spacing) for end in ("min", "max"))
    return ChartLine(title, _points(rows, name, spacing), low=low, high=high)


def _points(rows: Sequence[Row], column: str, spacing: float) -> Sequence[charts.Point]:
    """Return a column as points; a counter as its increase per second."""
    read = charts.rates if column in _COUNTERS else charts.readings
    return read(rows, column, spacing=spacing)
