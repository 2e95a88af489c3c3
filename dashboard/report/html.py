"""A report as one HTML file that makes no request: its style, charts and tables are inside.

Invariants:
- The template escapes every value, whatever its origin. The page has no script, link or image, and forbids them.
- Each chart has a table with the same values.
- Texts are in the current language; times are UTC.
"""

from collections.abc import Sequence
from datetime import UTC
from functools import partial
from typing import Final

from babel.dates import format_datetime, format_skeleton

from dashboard.i18n import language, text
from dashboard.i18n.language import _
from dashboard.i18n.text import UNKNOWN, Word
from dashboard.problems.incident_text import incident_sentence
from dashboard.report import charts, disk_sections
from dashboard.report.charts import BarChart
from dashboard.report.sections import Cells, Columns, ReportSection, ReportTable, by_machine, day, percent, utc
from dashboard.report.summary import MachineSummary, Report
from dashboard.widgets.asset_files import template
from schemas.fleet.availability import Availability
from schemas.fleet.forecast import Outlook
from schemas.fleet.ledger import Ledger

BARS_MAX: Final = 10
_STATUSES: Final = ("ok", "warn", "critical", "unknown")
_UNKNOWN_LAST: Final = 2.0


def page(report: Report) -> str:
    """Return the file."""
    return template("report.html").render(
        language=language.current(),
        title=_("Report on {org}", org=report.org),
        period=_("{start} to {end}, UTC", start=_moment(report.within[0]), end=_moment(report.within[1])),
        made=_("Created by DashFleet on {at}", at=_moment(report.made_at)),
        contents=_("Contents"),
        tiles=_tiles(report),
        sections=[
            _availability(report.machines),
            _incidents(report),
            _health(report),
            _consumers(report.machines),
            disk_sections.forecasts(report.machines),
            *disk_sections.devices(report.devices),
            _completeness(report),
        ],
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _tiles(report: Report) -> list[tuple[str, str]]:
    whole = Availability(
        there=sum(each.availability.there for each in report.machines),
        away=sum(each.availability.away for each in report.machines),
    )
    full = sum(each.forecast.outlook is Outlook.FULL for each in report.machines)
    return [
        (_("Machines"), text.count(len(report.machines))),
        (_("Availability"), _share(whole.share)),
        (_("Incidents"), text.count(len(report.incidents))),
        (_("Disks that fill up within a year"), text.count(full)),
        (_("Samples lost"), text.count(sum(each.ledger.lost for each in report.machines))),
    ]


def _availability(machines: Sequence[MachineSummary]) -> ReportSection:
    columns: Columns = {
        _("Availability"): lambda each: _share(each.availability.share),
        _("Available"): lambda each: _length(each.availability.there),
        _("Unavailable"): lambda each: _length(each.availability.away),
        _("Announced"): lambda each: _length(each.availability.announced),
        _("Outages"): lambda each: text.count(each.availability.times),
        _("Longest"): lambda each: _length(each.availability.longest),
    }
    lowest_first = sorted(machines, key=lambda each: _lowest_first(each.availability.share))
    absent = sorted((each for each in machines if each.availability.away), key=lambda each: -each.availability.away)
    longest = absent[0].availability.away if absent else 0
    bars = [(each.name, each.availability.away / longest, _length(each.availability.away)) for each in absent]
    return ReportSection(
        "availability",
        _("Availability"),
        _(
            "The share of the time in which a machine was online or stale. The time before its first data, after it "
            "was retired, and while the server itself was disconnected does not count. Announced is the unavailable "
            "time that began with a goodbye: a stop, a reboot or sleep."
        ),
        [by_machine(_("Availability by machine, the lowest first"), lowest_first, columns, len(columns))],
        [BarChart(_("Longest unavailable in total"), bars[:BARS_MAX])],
    )


def _incidents(report: Report) -> ReportSection:
    rows: list[Cells] = [
        (
            _moment(row.started_at),
            Word(_("Open"), "bad") if row.ended_at is None else Word(_("Resolved"), "plain"),
            incident_sentence(row, report.within[1]),
        )
        for row in report.incidents
    ]
    lead = _("Events that affected several machines at once, or the server itself, and their duration.")
    return ReportSection(
        "incidents",
        _("Incidents"),
        lead if rows else _("No event affected several machines at once, or the server itself."),
        [ReportTable(_("Incidents, the oldest first"), (_("Started"), _("State"), _("Description")), rows)],
    )


def _health(report: Report) -> ReportSection:
    words = {code: text.health(code) for code in _STATUSES}
    days = sorted(report.days.items())
    by_day = [(day(at), *(_part(counts[code], counts.total()) for code in _STATUSES)) for at, counts in days]
    columns: Columns = {
        _("Now"): lambda each: text.health(each.health_now),
        **{word.label: partial(_hours, code) for code, word in words.items()},
    }
    worst = sorted(report.machines, key=lambda each: (-each.healths["critical"], -each.healths["warn"], each.name))
    titles = [word.label for word in words.values()]
    by_hour = [(_short_day(at), counts) for at, counts in days]
    return ReportSection(
        "health",
        _("Health"),
        _("Each hour of each machine is rated by its averages of CPU, memory and disk."),
        [
            ReportTable(_("Share of machine hours by day"), (_("Day"), *titles), by_day, len(titles)),
            by_machine(_("Share of hours by machine, the most critical first"), worst, columns, len(titles)),
        ],
        stack=charts.stack(_("Health of machine hours by day"), by_hour, words) if days else None,
    )


def _consumers(machines: Sequence[MachineSummary]) -> ReportSection:
    kinds = (
        (_("CPU"), _("Highest CPU usage"), {each.name: each.cpu for each in machines}),
        (_("Memory"), _("Highest memory usage"), {each.name: each.memory for each in machines}),
    )
    bars, tables = [], []
    for kind, title, readings in kinds:
        known = [(name, each.average, each.highest) for name, each in readings.items() if each.average is not None]
        most = sorted(known, key=lambda entry: (-entry[1], entry[0]))[:BARS_MAX]
        bars.append(BarChart(title, [(name, mean / 100, percent(mean)) for name, mean, _highest in most]))
        rows = [(name, percent(mean), percent(highest)) for name, mean, highest in most]
        tables.append(ReportTable(title, (_("Machine"), kind, _("Highest")), rows, 2))
    lead = _("The machines with the highest average usage, at most {n}.", n=text.count(BARS_MAX))
    return ReportSection("consumers", _("Top consumers"), lead, tables, bars)


def _completeness(report: Report) -> ReportSection:
    machines = report.machines
    titles = {
        "expected": _("Expected"),
        "stored": _("Stored"),
        "late": _("Backfilled"),
        "dropped": _("Dropped"),
        "waiting": _("Buffered on agent"),
        "rejected": _("Rejected"),
        "lost": _("Lost"),
    }
    columns: Columns = {
        _("In this period"): lambda each: text.count(each.samples),
        **{title: partial(_ledger_count, name) for name, title in titles.items()},
    }
    total = Ledger()
    for name in titles:
        setattr(total, name, sum(getattr(each.ledger, name) for each in machines))
    figures = _(
        "The report covers {samples} samples. The other figures are totals since each machine's first sample: "
        "{expected} expected, {stored} stored, {dropped} dropped by a full outbox, {waiting} buffered on agents, "
        "{lost} lost.",
        samples=text.count(sum(each.samples for each in machines)),
        **{name: text.count(getattr(total, name)) for name in titles if name not in ("late", "rejected")},
    )
    seconds = report.not_listening_seconds
    listening = (
        _("During {time} of this period the server could not listen.", time=text.duration(seconds))
        if seconds
        else _("The server could listen during the whole period.")
    )
    most_lost = sorted(machines, key=lambda each: (-each.ledger.lost, -each.ledger.dropped, each.name))
    return ReportSection(
        "completeness",
        _("Completeness"),
        f"{figures} {listening}",
        [by_machine(_("Samples by machine, the most lost first"), most_lost, columns, len(columns))],
    )


def _hours(status: str, machine: MachineSummary) -> str:
    return _part(machine.healths[status], machine.healths.total())


def _ledger_count(name: str, machine: MachineSummary) -> str:
    return text.count(getattr(machine.ledger, name))


def _lowest_first(share: float | None) -> float:
    return _UNKNOWN_LAST if share is None else share


def _share(share: float | None) -> str:
    """Round down to two decimals: 100 % is only what never failed."""
    return UNKNOWN if share is None else f"{text.fixed(int(share * 10_000) / 100, 2)} %"


def _part(count: int, total: int) -> str:
    return f"{text.fixed(100 * count / total, 1)} %" if total else UNKNOWN


def _length(milliseconds: int) -> str:
    return text.duration(milliseconds / 1000)


def _moment(at: int) -> str:
    return format_datetime(utc(at), "medium", tzinfo=UTC, locale=language.locale())


def _short_day(at: int) -> str:
    return format_skeleton("MMMd", utc(at), locale=language.locale())
