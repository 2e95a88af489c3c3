"""Export of the fleet: the machines that match a filter, in the order of the table, as a stream of rows.

Invariants:
- Machines are read in batches. No reader, however slow, holds a transaction open; only the names are all in memory.
- Names, codes and times are as in the contract, in no language.
- Readings that are not `current` are of the time `as_of`; without them, no health.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Engine, Row

from dashboard.export.formats import Rows, iso
from schemas.database.chosen_columns import SERIES
from schemas.database.queries import machines
from schemas.database.queries.machines import Filters
from schemas.database.series.fleet_columns import ChosenNumber, read_numbers

BATCH_SIZE: Final = 500
COLUMNS: Final = (
    "machine",
    "hostname",
    "presence",
    "reason",
    "since",
    "verified",
    "last_seen",
    "current",
    "as_of",
    "health_status",
    "health_score",
    "cpu_percent",
    "memory_percent",
    "disk_percent",
    "uptime_seconds",
    "os",
    "os_version",
    "agent_version",
    "labels",
)


def columns(readings: Sequence[str] = ()) -> list[str]:
    """Return the names of all columns; `readings` are codes of chosen columns, which are their names."""
    devices = {code: [f"{code}-device"] if code.startswith(SERIES) else [] for code in readings}
    return [*COLUMNS, *(name for code in readings for name in (code, *devices[code]))]


def rows(engine: Engine, org_name: str, filters: Filters, readings: Sequence[str] = ()) -> Iterator[Rows]:
    """Yield the machines in batches; those that disappear meanwhile are left out."""
    names = machines.matching_names(engine, org_name, filters, limit=None)
    for start in range(0, len(names), BATCH_SIZE):
        some = names[start : start + BATCH_SIZE]
        numbers = read_numbers(engine, org_name, some, readings)
        found = machines.find_rows(engine, org_name, some)
        yield [_machine(row) | _readings(readings, numbers.get(row.name, {})) for row in found]


def _readings(codes: Sequence[str], numbers: Mapping[str, ChosenNumber]) -> dict[str, Any]:
    known = {code: numbers.get(code) for code in codes}
    values = {code: found and found.value for code, found in known.items()}
    return values | {f"{code}-device": found and found.device for code, found in known.items()}


def _machine(row: Row[Any]) -> dict[str, Any]:
    times = {"since": row.since_at, "last_seen": row.last_seen_at, "as_of": row.as_of}
    known = {name: getattr(row, name, None) for name in COLUMNS}
    return {**known, "machine": row.name, **{name: None if at is None else iso(at) for name, at in times.items()}}
