"""The fleet for other programs: the machines that match, in the order of the table, as a stream of rows.

Invariants:
- Machines are read some at a time. No reader, however slow, holds a transaction open; only the names are all in memory.
- Names, codes and times are as in the contract, in no language.
"""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Engine, Row

from dashboard.export.formats import Rows
from dashboard.export.history import iso
from schemas.database.queries import machines
from schemas.database.queries.machines import Filters

MACHINES_AT_ONCE: Final = 500
COLUMNS: Final = (
    "machine",
    "hostname",
    "presence",
    "reason",
    "since",
    "verified",
    "last_seen",
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
    """The machines some at a time; those that go away meanwhile are left out."""
    with engine.connect() as connection:
        names = connection.execute(machines.matching(org_name, filters)).scalars().all()
    for start in range(0, len(names), MACHINES_AT_ONCE):
        some = machines.rows(engine, org_name, names[start : start + MACHINES_AT_ONCE])
        yield [_machine(row) for row in some]


def _machine(row: Row[Any]) -> dict[str, Any]:
    times = {"since": row.since_at, "last_seen": row.last_seen_at}
    known = {name: getattr(row, name, None) for name in COLUMNS}
    return {**known, "machine": row.name, **{name: None if at is None else iso(at) for name, at in times.items()}}
