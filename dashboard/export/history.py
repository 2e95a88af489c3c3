"""The fleet's history for other programs: samples, minutes or hours of an organisation's machines, as a stream of rows.

Invariants:
- Memory does not grow with what is exported: rows come from the database and go to the file some at a time.
- Every query takes the organisation by its name, and never finds another's.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

from sqlalchemy import BigInteger, ColumnElement, Engine, Float, Integer, Table, func, select

from dashboard.export import formats
from dashboard.export.formats import Rows
from schemas.database.queries.history import sampled_within
from schemas.database.tables import Hundredths, machine, metadata, org, sample
from schemas.fleet.history import SAMPLES, Resolution

ROWS_AT_ONCE: Final = 2000
MACHINE, TIME, EXTRA = "machine", "time", "extra"
_NOT_EXPORTED: Final = ("machine_id", "at", "sampled_from", "sampled_to", "extra")
_OF_SAMPLES_ONLY: Final = ("sampled_at", "stream_number", "seq", "delay_milliseconds", "clock_offset_milliseconds")

Write = Callable[[Rows], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export: of which machines (none named: all), from `start` until before `end`, milliseconds UTC."""

    org: str
    machines: tuple[str, ...]
    start: int
    end: int
    resolution: Resolution

    @property
    def table(self) -> Table:
        """Where it is."""
        return metadata.tables[self.resolution.table]

    @property
    def at(self) -> ColumnElement[int]:
        """When a row was measured, by the server's clock; of a roll-up, its start."""
        if self.resolution == SAMPLES:
            return sample.c.sampled_at + sample.c.clock_offset_milliseconds
        return self.table.c.at

    @property
    def columns(self) -> dict[str, type]:
        """The names of a row's figures in their order, with units in them as in the contract, and their types."""
        left_out = (*_NOT_EXPORTED, *(_OF_SAMPLES_ONLY if self.resolution == SAMPLES else ()))
        return {column.name: _type(column) for column in self.table.c if column.name not in left_out}


def unknown(engine: Engine, wanted: Wanted) -> str:
    """What is asked for and is not there, as a sentence; empty when all is."""
    with engine.connect() as connection:
        if connection.scalar(select(org.c.id).where(org.c.name == wanted.org)) is None:
            return f"there is no organisation {wanted.org}"
        names = set(connection.scalars(_machines(wanted.org).with_only_columns(machine.c.name)))
    missing = sorted(set(wanted.machines) - names)
    return f"{wanted.org} has no machine {', '.join(missing)}" if missing else ""


def count(engine: Engine, wanted: Wanted) -> int:
    """How many rows there are."""
    with engine.connect() as connection:
        keys = [key for key, _ in _chosen(engine, wanted)]
        return sum(connection.scalar(_of(wanted, key, func.count())) or 0 for key in keys)


def rows(engine: Engine, wanted: Wanted) -> Iterator[Rows]:
    """The rows some at a time, machine by machine in the order of their ids, the oldest first."""
    figures = [wanted.table.c[name] for name in wanted.columns]
    for key, name in _chosen(engine, wanted):
        query = _of(wanted, key, wanted.at.label(TIME), *figures, wanted.table.c.extra).order_by(wanted.at)
        with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
            for some in connection.execute(query).mappings().partitions():
                yield [{MACHINE: name, **row} for row in some]


def writing(form: str, file: Path | None, columns: Mapping[str, type]) -> AbstractContextManager[Write]:
    """A function that writes rows to a file, or to standard output, as `csv` or `jsonl`; or to a file as `parquet`.

    Entering it for Parquet raises ImportError where pyarrow is not installed.
    """
    return _FORMS[form](file, columns)


def _text(file: Path | None) -> AbstractContextManager[TextIO]:
    return nullcontext(sys.stdout) if file is None else file.open("w", encoding="utf-8", newline="")


@contextmanager
def _lines(form: str, file: Path | None, columns: Mapping[str, type]) -> Iterator[Write]:
    names = names_of(columns)
    with _text(file) as text:
        text.write(formats.head(form, names))

        def write(some: Rows) -> None:
            text.write(formats.body(form, names, timed(some)))

        yield write


def names_of(columns: Mapping[str, type]) -> list[str]:
    """The names of all columns of a text, in their order."""
    return [MACHINE, TIME, *columns, EXTRA]


def timed(some: Rows) -> Rows:
    """Rows with their times as text."""
    return [{**row, TIME: iso(row[TIME])} for row in some]


@contextmanager
def _parquet(file: Path | None, columns: Mapping[str, type]) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    figures = [(name, pa.float64() if kind is float else pa.int64()) for name, kind in columns.items()]
    schema = pa.schema([(MACHINE, pa.string()), (TIME, pa.timestamp("ms", "UTC")), *figures, (EXTRA, pa.string())])
    with ParquetWriter(file, schema, compression="zstd") as writer:

        def write(some: Rows) -> None:
            plain: Sequence[dict[str, Any]] = [
                {**row, EXTRA: row[EXTRA] and formats.to_json(row[EXTRA])} for row in some
            ]
            writer.write_table(pa.Table.from_pylist(plain, schema))

        yield write


_FORMS: Final[Mapping[str, Callable[..., AbstractContextManager[Write]]]] = {
    "csv": partial(_lines, "csv"),
    "jsonl": partial(_lines, "jsonl"),
    "parquet": _parquet,
}


def _machines(org_name: str) -> Any:  # noqa: ANN401 - SQLAlchemy's type of a selection of two columns
    return select(machine.c.id, machine.c.name).join(org).where(org.c.name == org_name).order_by(machine.c.name)


def _chosen(engine: Engine, wanted: Wanted) -> list[tuple[int, str]]:
    query = _machines(wanted.org)
    with engine.connect() as connection:
        found = connection.execute(query).all()
    return [(row.id, row.name) for row in found if not wanted.machines or row.name in wanted.machines]


def _of(wanted: Wanted, key: int, *columns: ColumnElement[Any]) -> Any:  # noqa: ANN401 - as above
    mine: ColumnElement[bool] = wanted.table.c.machine_id == key
    if wanted.resolution == SAMPLES:
        mine = sampled_within(key, wanted.start, wanted.end)
    return select(*columns).select_from(wanted.table).where(mine, wanted.at >= wanted.start, wanted.at < wanted.end)


def _type(column: ColumnElement[Any]) -> type:
    if isinstance(column.type, Float | Hundredths):
        return float
    assert isinstance(column.type, Integer | BigInteger)  # noqa: S101
    return int


def iso(milliseconds: int) -> str:
    """A moment as text, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
