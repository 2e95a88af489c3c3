"""The content of a report on an organisation: read from the database and aggregated. `report.html` formats it.

Invariants:
- Memory grows with machines and days, not with hours: those are read once, in batches.
- An hour is rated by its averages; a missing reading makes its health unknown.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, Row

from dashboard.report.devices import DeviceFigures, gather_devices
from dashboard.report.reading_summary import ReadingSummary
from schemas.contract.org_config import Thresholds
from schemas.database.queries import report as report_queries
from schemas.database.queries.incidents import BLIND, list_incidents_within
from schemas.database.queries.machines import read_ledgers
from schemas.database.queries.settings import read_settings
from schemas.fleet.availability import Availability, Span, measure_availability, presence_at
from schemas.fleet.completeness import not_listening_seconds
from schemas.fleet.forecast import DAY, Forecast, forecast_disk
from schemas.fleet.health import health
from schemas.fleet.ledger import Ledger


@dataclass(slots=True)
class MachineSummary:
    """A machine in the period. `healths` counts hours by status, `disk` is the used percentage by day."""

    name: str
    hostname: str
    health_now: str
    availability: Availability
    ledger: Ledger
    samples: int = 0
    cpu: ReadingSummary = field(default_factory=ReadingSummary)
    memory: ReadingSummary = field(default_factory=ReadingSummary)
    healths: Counter[str] = field(default_factory=Counter)
    disk: dict[int, ReadingSummary] = field(default_factory=dict)

    @property
    def days(self) -> list[tuple[int, float]]:
        """The disk's used percentage by day, the oldest first."""
        return [(day, load.average) for day, load in sorted(self.disk.items()) if load.average is not None]

    @property
    def forecast(self) -> Forecast:
        """When the disk will be full."""
        return forecast_disk(self.days)


@dataclass(slots=True)
class Report:
    """The content of a report. `days` counts the machines' hours by status, by day.

    `not_listening_seconds` is the time of the period during which the server could not listen.
    """

    org: str
    within: Span
    made_at: int
    machines: list[MachineSummary]
    incidents: list[Row[Any]]
    not_listening_seconds: float = 0.0
    days: dict[int, Counter[str]] = field(default_factory=dict)
    devices: DeviceFigures = field(default_factory=DeviceFigures)


def gather(
    engine: Engine, org_name: str, within: Span, *, now: int, tell: Callable[[int], None] = lambda _: None
) -> Report:
    """Read the content. `tell` is called with the number of hours in each batch that was read."""
    incidents = list_incidents_within(engine, org_name, within)
    blind = [(row.started_at, row.ended_at or within[1]) for row in incidents if row.kind == BLIND]
    before = report_queries.last_presence_changes(engine, org_name, within[0])
    changes = report_queries.list_presence_changes(engine, org_name, within)
    ledgers = read_ledgers(engine, org_name=org_name)
    machines = {}
    for row in report_queries.list_machine_states(engine, org_name):
        past, future = before.get(row.id), changes.get(row.id)
        since = presence_at(
            within[0],
            last=past[-1][1].presence if past else None,
            following=future[0][0] if future else None,
            presence=row.presence or "unknown",
            since_at=row.since_at,
        )
        went = [change for _, change in changes.get(row.id, ())]
        there = measure_availability(since, went, within=within, blind=blind)
        ledger = ledgers.get(row.id, Ledger())
        machines[row.id] = MachineSummary(row.name, row.hostname or row.name, row.health_status, there, ledger)
    deaf = not_listening_seconds(blind, within)
    report = Report(org_name, within, now, list(machines.values()), incidents, deaf)
    thresholds = read_settings(engine, org_name)[0].thresholds
    for some in report_queries.read_hours(engine, org_name, within):
        for row in some:
            if (found := machines.get(row.machine_id)) is not None:
                _add(report, found, row, thresholds)
        tell(len(some))
    report.devices = gather_devices(engine, {key: each.name for key, each in machines.items()}, within)
    return report


def _add(report: Report, machine: MachineSummary, row: Row[Any], thresholds: Thresholds) -> None:
    """Add an hour of a machine."""
    day = row.at // DAY * DAY
    machine.samples += row.samples
    machine.cpu.add(row.cpu_percent_count, row.cpu_percent_avg, row.cpu_percent_max)
    machine.memory.add(row.memory_percent_count, row.memory_percent_avg, row.memory_percent_max)
    disk = machine.disk.setdefault(day, ReadingSummary())
    disk.add(row.disk_percent_count, row.disk_percent_avg, row.disk_percent_max)
    status = health(row.cpu_percent_avg, row.memory_percent_avg, row.disk_percent_avg, thresholds).status
    machine.healths[status] += 1
    report.days.setdefault(day, Counter())[status] += 1
