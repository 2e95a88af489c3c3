"""The last readings of a machine as gauges, with the forecast of its disk. Pure.

Invariant: the readings of a machine that is not online are greyed, have no colour of a status, and say their time.
"""

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any, Final

from sqlalchemy import Row

from dashboard.fleet import rows as fleet_rows
from dashboard.i18n import text
from dashboard.i18n.language import _, ngettext, pgettext
from dashboard.machine.charts import ExtraMetric
from dashboard.widgets import charts, markup
from schemas.contract.org_config import Component, Thresholds
from schemas.fleet.forecast import DAY, Forecast
from schemas.fleet.health import DEFAULT_THRESHOLDS

Recent = Sequence[Mapping[str, Any]]
_MONTH_DAYS: Final = 60
"""A disk that is full later than this is no news."""


def draw(
    row: Row[Any],
    extras: Sequence[ExtraMetric],
    thresholds: Thresholds | None,
    recent: Recent,
    forecast: Forecast,
    now: int,
    zone: tzinfo,
) -> str:
    """Return the gauges as HTML. `recent` are the last samples, for the rates of counters."""
    aged = not row.current
    as_of = text.as_of(row.as_of, now, zone) if aged else ""
    main = markup.gauges(_main(row, thresholds or DEFAULT_THRESHOLDS, forecast, now, as_of), aged=aged)
    rest = [*_readings(row, extras), *([] if aged else _traffic(recent, row))]
    note = markup.note(_("Last values, {as_of}", as_of=as_of)) if as_of else ""
    return note + main + markup.gauges(rest, small=True, aged=aged)


def _main(row: Row[Any], limits: Thresholds, forecast: Forecast, now: int, as_of: str) -> list[str]:
    info: Mapping[str, Any] = row.info or {}

    def usage(label: str, detail: str, percent: float | None, component: Component) -> str:
        tone = fleet_rows.tone(percent, component, limits) if row.current else "plain"
        return markup.gauge(label, text.percent(percent), detail, percent or 0, tone)

    word = text.health(row.health_status)
    score = text.UNKNOWN if row.health_score is None else str(row.health_score)
    memory, disk = _of(row.memory_used_bytes, info, "memory"), _of(row.disk_used_bytes, info, "disk")
    soon = full(forecast, now) if row.current else ""
    return [
        markup.gauge(_("Health"), score, as_of or word.label, row.health_score, word.tone),
        usage(_("CPU"), _cores(info), row.cpu_percent, limits.cpu),
        usage(_("Memory"), memory, row.memory_percent, limits.memory),
        usage(_("Disk"), " · ".join(filter(None, (disk, soon))), row.disk_percent, limits.disk),
    ]


def full(forecast: Forecast, now: int) -> str:
    """Return when the disk will be full, such as "full in 9 days"; empty if that is not known or is far off."""
    if forecast.full_at is None:
        return ""
    days = max(0, round((forecast.full_at - now) / DAY))
    if days > _MONTH_DAYS:
        return ""
    return ngettext("full in {n} day", "full in {n} days", days) if days else _("full within a day")


def _readings(row: Row[Any], extras: Sequence[ExtraMetric]) -> list[str]:
    readings = [
        (_("Load, 1 min"), None if row.load_1m is None else text.fixed(row.load_1m, 2)),
        (_("Processes"), None if row.process_count is None else text.count(row.process_count)),
        (_("Swap"), None if row.swap_percent is None else text.percent(row.swap_percent)),
        (
            _("Temperature"),
            None if row.temperature_celsius is None else text.quantity(round(row.temperature_celsius), "celsius"),
        ),
    ]
    values: Mapping[str, Any] = row.extra or {}
    readings += [
        (metric.title, text.quantity(values[metric.name], metric.unit))
        for metric in extras
        if values.get(metric.name) is not None
    ]
    return [markup.gauge(name, shown) for name, shown in readings if shown is not None]


def _traffic(recent: Recent, row: Row[Any]) -> list[str]:
    pieces = []
    for title, counter in (
        (pgettext("network", "Received"), "network_received_bytes"),
        (pgettext("network", "Sent"), "network_sent_bytes"),
    ):
        points = charts.rates(recent, counter, spacing=1000 * (row.interval_seconds or 1))
        if points and points[-1][1] is not None:
            pieces.append(markup.gauge(title, text.byte_rate(points[-1][1])))
    return pieces


def _cores(info: Mapping[str, Any]) -> str:
    count = info.get("cpu_count")
    return ngettext("{n} core", "{n} cores", int(count)) if count else ""


def _of(used: int | None, info: Mapping[str, Any], part: str) -> str:
    total = info.get(f"{part}_total_bytes")
    return _("{used} of {total}", used=text.size(used), total=text.size(total)) if used is not None and total else ""
