"""Export of the history: samples, minutes or hours of an organisation's machines, as a stream of rows.

Invariants:
- Memory does not grow with the export: rows go from the database to the file in batches.
- Every query is scoped to the organisation's name, and never finds another's machines.
"""

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import BigInteger, ColumnElement, Engine, Float, Integer, Select, Table, func, select

from dashboard.export import formats
from dashboard.export.formats import Rows, iso
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

Write = Callable[[Rows], None]


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
    def names(self) -> list[str]:
        """Names of all columns of a text file, in their order."""
        return [MACHINE, TIME, *self.columns, EXTRA]


def unknown(engine: Engine, wanted: HistoryRange) -> str:
    """Return a sentence that names the organisation or machines that do not exist; empty if all do."""
    if not has_org(engine, wanted.org):
        return f"there is no organisation {wanted.org}"
    missing = sorted(set(wanted.machines) - {name for _, name in _chosen(engine, wanted)})
    return f"{wanted.org} has no machine {', '.join(missing)}" if missing else ""


def count(engine: Engine, wanted: HistoryRange) -> int:
    """Count the rows."""
    queries = (_rows_of(wanted, key, func.count()) for key, _ in _chosen(engine, wanted))
    return sum(fetch_scalar(engine, query) or 0 for query in queries)


def rows(engine: Engine, wanted: HistoryRange) -> Generator[Rows, None, None]:
    """Yield the rows in batches, machine by machine in the order of their names, the oldest first."""
    readings = [wanted.table.c[name] for name in wanted.columns]
    for key, name in _chosen(engine, wanted):
        query = _rows_of(wanted, key, wanted.at.label(TIME), *readings, wanted.table.c.extra).order_by(wanted.at)
        with (
            engine.connect().execution_options(yield_per=BATCH_SIZE) as connection,
            connection.execute(query) as found,
        ):
            for batch in found.mappings().partitions():
                yield [{MACHINE: name, **row} for row in batch]


def writing(fmt: str, file: Path | None, wanted: HistoryRange) -> AbstractContextManager[Write]:
    """Return a function that writes rows to a file, or to standard output, as `csv` or `jsonl`; or as `parquet`.

    Entering the context raises ImportError for Parquet if pyarrow is not installed.
    """
    return _FORMATS[fmt](file, wanted)


def with_times(batch: Rows) -> Rows:
    """Return rows with their times as text."""
    return [{**row, TIME: iso(row[TIME])} for row in batch]


def _text(file: Path | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if file is None else file.open("w", encoding="utf-8", newline="")


@contextmanager
def _lines(fmt: str, file: Path | None, wanted: HistoryRange) -> Iterator[Write]:
    names = wanted.names
    with _text(file) as text:
        text.write(formats.header(fmt, names))

        def write(batch: Rows) -> None:
            text.write(formats.lines(fmt, names, with_times(batch)))

        yield write


@contextmanager
def _parquet(file: Path | None, wanted: HistoryRange) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    readings = [(name, pa.float64() if kind is float else pa.int64()) for name, kind in wanted.columns.items()]
    schema = pa.schema([(MACHINE, pa.string()), (TIME, pa.timestamp("ms", "UTC")), *readings, (EXTRA, pa.string())])
    with ParquetWriter(file, schema, compression="zstd") as writer:

        def write(batch: Rows) -> None:
            plain = [{**row, EXTRA: formats.to_json(row[EXTRA]) if row[EXTRA] else None} for row in batch]
            writer.write_table(pa.Table.from_pylist(plain, schema))

        yield write


_FORMATS: Final[Mapping[str, Callable[..., AbstractContextManager[Write]]]] = {
    "csv": partial(_lines, "csv"),
    "jsonl": partial(_lines, "jsonl"),
    "parquet": _parquet,
}


def _chosen(engine: Engine, wanted: HistoryRange) -> list[tuple[int, str]]:
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
