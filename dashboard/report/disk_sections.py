"""The sections of a report on disks, and on file systems and other devices. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from dashboard.i18n import text
from dashboard.i18n.language import Marked, _, marked
from dashboard.i18n.text import UNKNOWN
from dashboard.report import charts
from dashboard.report.devices import DEVICES_MAX, DeviceFigures
from dashboard.report.sections import (
    Cells,
    Columns,
    ReportSection,
    ReportTable,
    by_machine,
    day,
    outlook,
    percent,
    soonest_first,
    trend,
)
from dashboard.report.summary import MachineSummary

TRENDS_MAX: Final = 4

_BUSIEST: Final[Mapping[str, tuple[Marked, str]]] = {
    "disk_busy_percent": (marked("Busiest disks"), "percent"),
    "container_cpu_percent": (marked("Containers with the highest CPU usage"), "percent"),
    "sensor_celsius": (marked("Hottest sensors"), "celsius"),
    "pressure_some_percent": (marked("Highest pressure"), "percent"),
}
"""Titles of the tables by metric, and the unit of its readings."""


def forecasts(machines: Sequence[MachineSummary]) -> ReportSection:
    """Return the section on the disk of each machine."""
    found = sorted(machines, key=lambda each: (*soonest_first(each.forecast), each.name))
    columns: Columns = {
        _("Used"): lambda each: percent(each.days[-1][1]) if each.days else UNKNOWN,
        _("Trend"): lambda each: trend(each.forecast),
        _("Full"): lambda each: outlook(each.forecast),
    }
    trends = [
        charts.trend(each.name, each.days, full_at, (day(each.days[0][0]), day(full_at)))
        for each in found[:TRENDS_MAX]
        if (full_at := each.forecast.full_at) is not None
    ]
    return ReportSection(
        "disks",
        _("Disk forecasts"),
        _(
            "A linear regression over the used share of each day. If it explains less than half of the variance, or "
            "falls, there is no trend and no date."
        ),
        [by_machine(_("Disks, the first to be full first"), found, columns, 0)],
        trends=trends,
    )


def devices(found: DeviceFigures) -> list[ReportSection]:
    """Return the section on the devices of all machines; none if no machine reported any."""
    mounts = sorted(found.mounts, key=lambda each: (-each.used, each.machine, each.mount))
    rows: list[Cells] = [
        (
            each.machine,
            text.readable(each.mount),
            percent(each.used),
            percent(each.highest),
            trend(each.forecast),
            outlook(each.forecast),
        )
        for each in mounts
    ]
    heads = (_("Machine"), _("File system"), _("Used"), _("Highest"), _("Trend"), _("Full"))
    tables = [ReportTable(_("File systems, the fullest first"), heads, rows)] if rows else []
    for metric, (title, unit) in _BUSIEST.items():
        most: list[Cells] = [
            (
                each.machine,
                text.readable(each.device),
                text.quantity(round(each.average, 1), unit),
                text.quantity(round(each.highest, 1), unit),
            )
            for each in found.busiest.get(metric, ())
        ]
        if most:
            tables.append(ReportTable(_(title), (_("Machine"), _("Device"), _("Average"), _("Highest")), most, 2))
    lead = _("File systems, and the other devices with the highest averages, at most {n}.", n=str(DEVICES_MAX))
    return [ReportSection("devices", _("Devices"), lead, tables)] if tables else []
