"""A report as one HTML file that asks nothing of any server: its style, its charts and its tables are inside.

Invariants:
- Every value is escaped by the template, whoever it came from. No script, no link and no image; the page forbids them.
- Each chart has a table with the same figures.
- A text is in the language that is spoken when it is written; times are UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from babel.dates import format_date, format_datetime, format_skeleton
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dashboard.alerts.incident_text import incident_sentence
from dashboard.i18n import language, text
from dashboard.i18n.language import _
from dashboard.i18n.text import UNKNOWN, Word
from dashboard.report import charts
from dashboard.report.charts import Bar, Bars, Stack, Trend
from dashboard.report.summary import MachineSummary, Report
from dashboard.widgets.asset_files import ASSETS
from schemas.fleet.availability import Availability
from schemas.fleet.forecast import Forecast, Outlook
from schemas.fleet.ledger import Ledger

ROWS_MOST: Final = 1000
BARS_MOST: Final = 10
TRENDS_MOST: Final = 4
_STATUSES: Final = ("ok", "warn", "critical", "unknown")
_OUTLOOKS: Final = (Outlook.FULL, Outlook.SLOW, Outlook.NO_TREND, Outlook.SHORT)
_UNKNOWN_LAST: Final = 2.0

Cells = Sequence[str | Word]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a caption. The first column names the row; `figures` are the columns that hold numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Cells]
    figures: frozenset[int] = frozenset()

    @property
    def shown(self) -> Sequence[Cells]:
        """As many rows as a page can bear."""
        return self.rows[:ROWS_MOST]

    @property
    def rest(self) -> str:
        """How many rows there are beyond them."""
        left = len(self.rows) - ROWS_MOST
        return text.and_more(left) if left > 0 else ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: what it is about, how that is counted, charts and tables."""

    name: str
    title: str
    lead: str
    tables: Sequence[Table]
    bars: Sequence[Bars] = ()
    stack: Stack | None = None
    trends: Sequence[Trend] = ()


def page(report: Report) -> str:
    """The whole file."""
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        language=language.current(),
        title=_("Report on {org}", org=report.org),
        period=_("{start} to {end}, UTC", start=_moment(report.within[0]), end=_moment(report.within[1])),
        made=_("Made by DashFleet on {at}", at=_moment(report.made_at)),
        contents=_("Contents"),
        tiles=_tiles(report),
        sections=[
            _availability(report),
            _incidents(report),
            _health(report),
            _consumers(report),
            _disks(report),
            _completeness(report),
        ],
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _tiles(report: Report) -> list[tuple[str, str]]:
    """What a reader in a hurry wants to know."""
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


def _availability(report: Report) -> Section:
    machines = sorted(report.machines, key=lambda each: _least_first(each.availability.share))
    rows = [
        (
            each.name,
            _share(each.availability.share),
            _length(each.availability.there),
            _length(each.availability.away),
            _length(each.availability.announced),
            text.count(each.availability.times),
            _length(each.availability.longest),
        )
        for each in machines
    ]
    most = max((each.availability.away for each in machines), default=0)
    away = [
        Bar(each.name, each.availability.away / most, _length(each.availability.away))
        for each in sorted(machines, key=lambda each: -each.availability.away)
        if each.availability.away
    ]
    titles = (_("Machine"), _("Availability"), _("There"), _("Away"), _("Announced"), _("Times"), _("Longest"))
    return Section(
        "availability",
        _("Availability"),
        _(
            "The share of the time in which a machine was online or stale. Not counted is the time before it was first "
            "heard, after it was retired, and while the server itself could hear nobody. Announced is what of its "
            "absence began with a goodbye: a stop, a reboot, sleep."
        ),
        [Table(_("Availability of each machine, the least first"), titles, rows, frozenset(range(1, 7)))],
        [Bars(_("Longest away in all"), away[:BARS_MOST])],
    )


def _incidents(report: Report) -> Section:
    now = report.within[1]
    rows: list[Cells] = [
        (
            _moment(row.started_at),
            Word(_("Open"), "bad") if row.ended_at is None else Word(_("Over"), "plain"),
            incident_sentence(row, now),
        )
        for row in report.incidents
    ]
    lead = _("What concerned several machines at once, or the server itself, and how long it lasted.")
    return Section(
        "incidents",
        _("Incidents"),
        lead if rows else _("Nothing concerned several machines at once, nor the server itself."),
        [Table(_("Incidents, the oldest first"), (_("Started"), _("State"), _("What happened")), rows)] if rows else [],
    )


def _health(report: Report) -> Section:
    words = {code: text.health(code) for code in _STATUSES}
    days = sorted(report.days.items())
    by_day = [(_day(at), *(_part(counts[code], counts.total()) for code in _STATUSES)) for at, counts in days]
    columns = [(_short_day(at), counts) for at, counts in days]
    worst = sorted(report.machines, key=lambda each: (-each.healths["critical"], -each.healths["warn"], each.name))
    by_machine: list[Cells] = [
        (
            each.name,
            text.health(each.health_now),
            *(_part(each.healths[code], each.healths.total()) for code in _STATUSES),
        )
        for each in worst
    ]
    titles = [word.label for word in words.values()]
    return Section(
        "health",
        _("Health"),
        _("Each hour of each machine is judged by its averages of CPU, memory and disk."),
        [
            Table(_("Share of the machines' hours on each day"), (_("Day"), *titles), by_day, frozenset(range(1, 5))),
            Table(
                _("Share of each machine's hours, the most critical first"),
                (_("Machine"), _("Now"), *titles),
                by_machine,
                frozenset(range(2, 6)),
            ),
        ],
        stack=charts.stack(_("Health of the machines' hours by day"), columns, words) if days else None,
    )


def _consumers(report: Report) -> Section:
    kinds = (
        (_("CPU"), _("Most CPU"), {each.name: each.cpu for each in report.machines}),
        (_("Memory"), _("Most memory"), {each.name: each.memory for each in report.machines}),
    )
    bars, tables = [], []
    for kind, title, loads in kinds:
        known = [(name, load, load.average) for name, load in loads.items() if load.average is not None]
        most = sorted(known, key=lambda entry: (-(entry[2] or 0.0), entry[0]))[:BARS_MOST]
        bars.append(Bars(title, [Bar(name, (mean or 0.0) / 100, _percent(mean)) for name, _load, mean in most]))
        rows = [(name, _percent(mean), _percent(load.highest)) for name, load, mean in most]
        tables.append(Table(title, (_("Machine"), kind, _("Highest")), rows, frozenset((1, 2))))
    lead = _("The machines that used the most on average, {n} at most.", n=text.count(BARS_MOST))
    return Section("consumers", _("Top consumers"), lead, tables, bars)


def _disks(report: Report) -> Section:
    found = sorted(((each, each.forecast) for each in report.machines), key=_soonest_first)
    rows: list[Cells] = [
        (
            each.name,
            _percent(each.days[-1][1]) if each.days else UNKNOWN,
            UNKNOWN if said.per_day is None else _("{points} points a day", points=text.fixed(said.per_day, 2)),
            _outlook(said),
        )
        for each, said in found
    ]
    trends = [
        charts.trend(each.name, each.days, said.full_at, (_day(each.days[0][0]), _day(said.full_at)))
        for each, said in found[:TRENDS_MOST]
        if said.full_at is not None
    ]
    return Section(
        "disks",
        _("Disk forecasts"),
        _(
            "A straight line through the used share of each day. Where the line explains less than half of what was "
            "measured, or falls, there is no trend and no date."
        ),
        [Table(_("Disks, the first to be full first"), (_("Machine"), _("Used"), _("Trend"), _("Full")), rows)],
        trends=trends,
    )


def _completeness(report: Report) -> Section:
    columns = {
        "expected": _("Expected"),
        "stored": _("Stored"),
        "late": _("Late"),
        "dropped": _("Dropped"),
        "waiting": _("Waiting"),
        "lost": _("Lost"),
    }
    machines = sorted(report.machines, key=lambda each: (-each.ledger.lost, -each.ledger.dropped, each.name))
    rows = [
        (each.name, text.count(each.samples), *(text.count(getattr(each.ledger, name)) for name in columns))
        for each in machines
    ]
    total = Ledger()
    for name in columns:
        setattr(total, name, sum(getattr(each.ledger, name) for each in report.machines))
    samples = sum(each.samples for each in report.machines)
    return Section(
        "completeness",
        _("Completeness"),
        _(
            "{samples} samples were summed up in this time. The other figures are of all time since each machine's "
            "first sample: {expected} expected, {stored} stored, {dropped} dropped by a full outbox, {waiting} waiting "
            "on the machines, {lost} lost.",
            samples=text.count(samples),
            **{name: text.count(getattr(total, name)) for name in columns if name != "late"},
        ),
        [
            Table(
                _("Samples of each machine, the most lost first"),
                (_("Machine"), _("In this time"), *columns.values()),
                rows,
                frozenset(range(1, 8)),
            )
        ],
    )


def _outlook(said: Forecast) -> str | Word:
    match said.outlook:
        case Outlook.FULL:
            return Word(_day(said.full_at or 0), "bad")
        case Outlook.SLOW:
            return _("not within a year")
        case Outlook.NO_TREND:
            return _("no trend")
        case Outlook.SHORT:
            return _("too few days")


def _soonest_first(entry: tuple[MachineSummary, Forecast]) -> tuple[int, int, str]:
    machine, said = entry
    return _OUTLOOKS.index(said.outlook), said.full_at or 0, machine.name


def _least_first(share: float | None) -> float:
    return _UNKNOWN_LAST if share is None else share


def _share(share: float | None) -> str:
    """With decimals, rounded down: 100 % is only what never failed."""
    return UNKNOWN if share is None else f"{text.fixed(int(share * 10_000) / 100, 2)} %"


def _part(count: int, total: int) -> str:
    return f"{text.fixed(100 * count / total, 1)} %" if total else UNKNOWN


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{text.fixed(value, 1)} %"


def _length(milliseconds: int) -> str:
    return text.duration(milliseconds / 1000)


def _moment(at: int) -> str:
    return format_datetime(datetime.fromtimestamp(at / 1000, UTC), "medium", tzinfo=UTC, locale=language.locale())


def _day(at: int) -> str:
    return format_date(datetime.fromtimestamp(at / 1000, UTC).date(), "medium", locale=language.locale())


def _short_day(at: int) -> str:
    """Without its year."""
    return format_skeleton("MMMd", datetime.fromtimestamp(at / 1000, UTC), locale=language.locale())
