"""Tables of series: readings per device, which come with one sample a minute.

Invariants:
- Those of `schemas.database.tables`.
- The series of a sample are a row of `series_sample` until their hour is over, then a part of a block in `series_hour`.
  The newest of a machine stays a row as well.
- An hour with rows that are not in its blocks has a row in `series_due`, written in the transaction of the rows.
- A roll-up of one hour counts instead of the one in the roll-up of its day.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text

from schemas.database.metadata import metadata


def _machine_key() -> Column[int]:
    key = ForeignKey("machine.id", ondelete="CASCADE")
    return Column("machine_id", key, primary_key=True, autoincrement=False)


def _time_key(name: str, comment: str) -> Column[int]:
    return Column(name, BigInteger, primary_key=True, autoincrement=False, comment=comment)


series_sample = Table(
    "series_sample",
    metadata,
    _machine_key(),
    _time_key("at", "server clock"),
    Column("stream_number", Integer, primary_key=True, autoincrement=False, comment="stream.number"),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("readings", Text, nullable=False, comment="JSON: metric: device: reading"),
)

series_due = Table(
    "series_due",
    metadata,
    _machine_key(),
    _time_key("at", "start of the hour, server clock"),
    Column("due_at", BigInteger, nullable=False),
    Index("ix_series_due_due_at", "due_at"),
    sqlite_with_rowid=False,
)

series_hour = Table(
    "series_hour",
    metadata,
    _machine_key(),
    _time_key("at", "start of the hour, server clock"),
    Column("part", Integer, primary_key=True, autoincrement=False, comment="from 0; above 0 only with many readings"),
    Column("readings", Integer, nullable=False),
    Column("block", LargeBinary, nullable=False, comment="schemas.series.sample_block"),
    Index("ix_series_hour_at", "at"),
)

series_rollup = Table(
    "series_rollup",
    metadata,
    _machine_key(),
    Column("length", Integer, primary_key=True, autoincrement=False, comment="milliseconds: an hour or a day"),
    _time_key("at", "start of the hour or day, server clock"),
    Column("block", LargeBinary, nullable=False, comment="schemas.series.summary_block"),
    Index("ix_series_rollup_at", "at"),
)
