"""The tables of the samples on PostgreSQL, their index, and the conditions that let it find them.

Invariants:
- `sample` is a view there, with the same columns and values as the table of SQLite. Code that reads, changes or deletes
  samples names `sample`. The rows are in the partitions of `ROWS`, packed; how is written once, in the migration that
  makes the view (`migrations/versions/0024_packed_samples.py`).
- A column of a row is as wide as real machines need. A reading that does not fit is in the row's text `rest`.
- The index is unique on each partition: a sample is stored once, as a machine has at most 1,000 streams, and a sequence
  number 53 bits.
- An entry of the index has 16 bytes of columns. PostgreSQL fills the pages of such an index as it grows at many places;
  those of a wider one stay half empty (`_bt_afternewitemoff` in its source).
- The index has the minute of a sample's time instead of the time, so a range needs both: `sampled_between` compares
  both. On SQLite, whose table is ordered by its primary key, the time is enough.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, ColumnElement, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from schemas.database.tables import sample

_MINUTE: Final = "CAST(LEAST(GREATEST({} / 60000, 0), 2147483647) AS INTEGER)"
"""The minute of a time since 1970. Times after the year 6053 all have the last one."""

_KEY: Final = f"machine_id, ({_MINUTE.format('sampled_at')}), stream_seq"

ROWS: Final = "sample_row"
"""The partitioned table behind the view `sample`."""

IF_NEW: Final = "sample_if_new"
"""The view into which samples are inserted that may be stored already; those are left unchanged."""

CLOCK_OFFSET: Final = "CASE WHEN delay IS NOT NULL THEN 0 ELSE split_part(rest, ' ', 1)::bigint END"
"""The offset of the clock in a packed row, as in the view."""


def unique_index(partition: str) -> str:
    """Return the statement that creates the index of a partition. Samples mostly come in the order of time."""
    return f"CREATE UNIQUE INDEX {partition}_key ON {partition} ({_KEY}) WITH (fillfactor = 100)"


class key_minute(FunctionElement[int]):  # noqa: N801 - a function of SQL
    """A time as the index contains it: its minute; on SQLite the time itself."""

    type = BigInteger()
    inherit_cache = True


class _between(FunctionElement[bool]):  # noqa: N801 - a function of SQL
    type = Boolean()
    inherit_cache = True


@compiles(key_minute)
def _time(element: key_minute, compiler: SQLCompiler, **arguments: Any) -> str:  # noqa: ANN401
    return compiler.process(element.clauses, **arguments)


@compiles(key_minute, "postgresql")
def _minute(element: key_minute, compiler: SQLCompiler, **arguments: Any) -> str:  # noqa: ANN401
    return _MINUTE.format(compiler.process(element.clauses, **arguments))


@compiles(_between)
def _one_range(element: _between, compiler: SQLCompiler, **arguments: Any) -> str:  # noqa: ANN401
    time, first, last = (compiler.process(clause, **arguments) for clause in element.clauses)
    return f"({time} BETWEEN {first} AND {last})"


@compiles(_between, "postgresql")
def _both_ranges(element: _between, compiler: SQLCompiler, **arguments: Any) -> str:  # noqa: ANN401
    time, first, last = (compiler.process(clause, **arguments) for clause in element.clauses)
    minutes = (_MINUTE.format(each) for each in (time, first, last))
    return "({} BETWEEN {} AND {} AND {} BETWEEN {} AND {})".format(time, first, last, *minutes)


def sampled_between(first: ColumnElement[int] | int, last: ColumnElement[int] | int) -> ColumnElement[bool]:
    """Return the condition for samples from `first` to `last`, in milliseconds by the machine's clock."""
    return _between(
        sample.c.sampled_at, *(literal(each, BigInteger) if isinstance(each, int) else each for each in (first, last))
    )
