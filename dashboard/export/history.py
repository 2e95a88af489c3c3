"""Export of the history: samples, minutes or hours of an organisation's machines, as a stream of rows.

Invariants:
- Memory does not grow with the export: rows go from the database to the file in batches.
- Every query is scoped to the organisation's name, and never finds another's machines.
"""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Engine, Float, Integer, Select, Table, func, select

from dashboard.export.files import Fields
from dashboard.export.formats import Rows
from schemas.database.columns import Hundredths
from schemas.database.queries.fetch import fetch_all, fetch_scalar
from schemas.database.queries.history import sampled_within
from schemas.database.queries.machines import select_machines
from schemas.database.queries.settings import has_org
from schemas.database.tables import machine, metadata, sample
from schemas.fleet.history import SAMPLES, Resolution

BATCH_SIZE: Final = 2000
MACHINE, TIME, EXTRA = "machine", "time", "extra"
_NOT_EXPORTED: Final = ("machine_id", "at", "sampled_from", "sampled_to", "extra")
_OF_SAMPLES_ONLY: Final = ("sampled_at", "stream_number", "seq", "delay_milliseconds", "clock_offset_milliseconds")


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """The history to export: machines (none named: all), from `start` until before `end`, in milliseconds UTC."""

    org: str
    machines: tuple[str, ...]
    start: int
    end: int
    resolution: Resolution

    @property
    def table(self) -> Table:
        """The table of this resolution."""
        return metadata.tables[self.resolution.table]

    @property
    def at(self) -> ColumnElement[int]:
        """The time of a row by the server's clock; the start of a roll-up."""
        if self.resolution == SAMPLES:
            return sample.c.sampled_at + sample.c.clock_offset_milliseconds
        return self.table.c.at

    @property
    def columns(self) -> dict[str, type]:
        """Names of the readings in their order, with units as in the contract, and their types, int or float."""
        left_out = (*_NOT_EXPORTED, *(_OF_SAMPLES_ONLY if self.resolution == SAMPLES else ()))
        return {column.name: _type(column) for column in self.table.c if column.name not in left_out}

    @property
    def fields(self) -> Fields:
        """All columns of a file."""
        return {MACHINE: str, TIME: datetime, **self.columns, EXTRA: dict}


def unknown(engine: Engine, wanted: HistoryRange) -> str:
    """Return a sentence that names the organisation or machines that do not exist; empty if all do."""
    if not has_org(engine, wanted.org):
        return f"there is no organisation {wanted.org}: dashfleet org list shows them"
    missing = sorted(set(wanted.machines) - {name for _, name in chosen_machines(engine, wanted)})
    return f"{wanted.org} has no machine {', '.join(missing)}: dashfleet machines lists them" if missing else ""


def count(engine: Engine, wanted: HistoryRange) -> int:
    """Count the rows."""
    queries = (_rows_of(wanted, key, func.count()) for key, _ in chosen_machines(engine, wanted))
    return sum(fetch_scalar(engine, query) or 0 for query in queries)


def rows(engine: Engine, wanted: HistoryRange) -> Generator[Rows, None, None]:
    """Yield the rows in batches, machine by machine in the order of their names, the oldest first."""
    readings = [wanted.table.c[name] for name in wanted.columns]
    for key, name in chosen_machines(engine, wanted):
        query = _rows_of(wanted, key, wanted.at.label(TIME), *readings, wanted.table.c.extra).order_by(wanted.at)
        with (
            engine.connect().execution_options(yield_per=BATCH_SIZE) as connection,
            connection.execute(query) as found,
        ):
            for batch in found.mappings().partitions():
                yield [{MACHINE: name, **row} for row in batch]


def chosen_machines(engine: Engine, wanted: HistoryRange) -> list[tuple[int, str]]:
    """Return the key and the name of each machine, in the order of names."""
    query = select_machines(wanted.org, machine.c.id, machine.c.name).order_by(machine.c.name)
    found = ((row.id, row.name) for row in fetch_all(engine, query))
    return [(key, name) for key, name in found if not wanted.machines or name in wanted.machines]


def _rows_of(wanted: HistoryRange, key: int, *columns: ColumnElement[Any]) -> Select[Any]:
    mine: ColumnElement[bool] = wanted.table.c.machine_id == key
    if wanted.resolution == SAMPLES:
        mine = sampled_within(key, wanted.start, wanted.end)
    return select(*columns).select_from(wanted.table).where(mine, wanted.at >= wanted.start, wanted.at < wanted.end)


def _type(column: ColumnElement[Any]) -> type:
    if isinstance(column.type, Float | Hundredths):
        return float
    assert isinstance(column.type, Integer | BigInteger)  # noqa: S101
    return int
