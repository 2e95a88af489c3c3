"""Export of the fleet: the machines that match a filter, in the order of the table, as a stream of rows.

Invariants:
- Machines are read in batches. No reader, however slow, holds a transaction open; only the names are all in memory.
- Names, codes and times are as in the contract, in no language.
- Readings that are not `current` are of the time `as_of`; without them, no health.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Engine, Row

from dashboard.export.formats import Rows, iso
from schemas.database.queries import machines
from schemas.database.queries.machines import Filters

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


def rows(engine: Engine, org_name: str, filters: Filters) -> Iterator[Rows]:
    """Yield the machines in batches; those that disappear meanwhile are left out."""
    names = machines.matching_names(engine, org_name, filters, limit=None)
    for start in range(0, len(names), BATCH_SIZE):
        yield [_machine(row) for row in machines.find_rows(engine, org_name, names[start : start + BATCH_SIZE])]


def _machine(row: Row[Any]) -> dict[str, Any]:
    times = {"since": row.since_at, "last_seen": row.last_seen_at, "as_of": row.as_of}
    known = {name: getattr(row, name, None) for name in COLUMNS}
    return {**known, "machine": row.name, **{name: None if at is None else iso(at) for name, at in times.items()}}
