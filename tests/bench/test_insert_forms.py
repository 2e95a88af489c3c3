"""The forms of insert that PostgreSQL has, side by side, over the rows that the ingestor writes.

CPU of the client and of the server per row, in one run, each form in turns. `make bench` takes more rows; the short
form shows that the one in use (`ingestor.storage.bulk`) is the cheapest for the client.
"""

import json
import os
import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bench.lanes import add_fleet
from servers import Postgresql
from sqlalchemy import Engine, Table, select
from sqlalchemy.engine import Connection
from telemetry import telemetry

from ingestor.domain.batch import Arrived
from ingestor.domain.machine import Machine, Stream
from ingestor.storage.bulk import CopiedRows, Rows
from ingestor.storage.row_encoding import SAMPLE_COLUMNS, STREAM_COLUMNS, sample_rows, stream_rows
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.database.sample_key import IF_NEW

IS_WHOLE = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3")) >= 60
ROWS = 2_000 if IS_WHOLE else 1_000
TURNS = 20 if IS_WHOLE else 3
AT = 1_700_000_000_000


class SingleRows:
    """INSERT … SELECT of one row, for the driver's `executemany`."""

    def __init__(self, engine: Engine, table: Table, columns: tuple[str, ...], *, overwrite: bool) -> None:
        values = ", ".join(f"%s::{_kind(engine, table, name)}" for name in columns)
        self._sql = _insert(table, columns, f"(VALUES ({values})) AS u({', '.join(columns)})", overwrite=overwrite)

    def write(self, connection: Connection, rows: Rows) -> None:
        connection.exec_driver_sql(self._sql, rows)


class UnnestedRows:
    """One INSERT … SELECT … FROM unnest(…), with an array for each column."""

    def __init__(self, engine: Engine, table: Table, columns: tuple[str, ...], *, overwrite: bool) -> None:
        kinds = {name: _kind(engine, table, name) for name in columns}
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds.values())
        self._sql = _insert(table, columns, f"unnest({arrays}) AS u({', '.join(columns)})", overwrite=overwrite)

    def write(self, connection: Connection, rows: Rows) -> None:
        connection.exec_driver_sql(self._sql, tuple(list(column) for column in zip(*rows, strict=True)))


class JsonRows:
    """One INSERT … SELECT … FROM json_to_recordset(…), with all rows in one text."""

    def __init__(self, engine: Engine, table: Table, columns: tuple[str, ...], *, overwrite: bool) -> None:
        self._columns = columns
        kinds = ", ".join(f"{name} {_kind(engine, table, name)}" for name in columns)
        self._sql = _insert(table, columns, f"json_to_recordset(%s) AS u({kinds})", overwrite=overwrite)

    def write(self, connection: Connection, rows: Rows) -> None:
        text = json.dumps([dict(zip(self._columns, row, strict=True)) for row in rows])
        connection.exec_driver_sql(self._sql, (text,))


def _kind(engine: Engine, table: Table, name: str) -> str:
    kind = str(table.c[name].type.compile(engine.dialect))
    return "TEXT" if kind == "JSON" else kind


def _insert(table: Table, columns: tuple[str, ...], source: str, *, overwrite: bool) -> str:
    chosen = ", ".join(f"{name}::json" if name == "extra" else name for name in columns)
    keys = [column.name for column in table.primary_key]
    changing = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    into, then = (
        (table.name, f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changing}") if overwrite else (IF_NEW, "")
    )
    return f"INSERT INTO {into} ({', '.join(columns)}) SELECT {chosen} FROM {source} {then}"  # noqa: S608


def _copied(engine: Engine, table: Table, columns: tuple[str, ...], *, overwrite: bool) -> CopiedRows:
    return CopiedRows(engine, table, columns, overwrite=overwrite, if_new=None if overwrite else IF_NEW)


FORMS: dict[str, Any] = {
    "executemany": SingleRows,
    "unnest": UnnestedRows,
    "json": JsonRows,
    "COPY": _copied,
}


@pytest.fixture
def server() -> Iterator[Postgresql]:
    running = Postgresql()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.mark.parametrize(("name", "columns"), [("sample", SAMPLE_COLUMNS), ("stream", STREAM_COLUMNS)])
def test_the_form_in_use_costs_the_client_least(server: Postgresql, name: str, columns: tuple[str, ...]) -> None:
    engine = open_engine(server.url)
    upgrade(engine)
    add_fleet(engine, ROWS)
    table = tables.metadata.tables[name]
    forms = {form: kind(engine, table, columns, overwrite=name == "stream") for form, kind in FORMS.items()}
    spent: dict[str, list[tuple[float, float]]] = {form: [] for form in FORMS}
    for turn in range(TURNS + 1):
        for number, (form, writer) in enumerate(forms.items()):
            rows = _rows(engine, name, turn * len(FORMS) + number + 1)
            before = time.process_time(), server.processor_seconds()
            with engine.begin() as connection:
                writer.write(connection, rows)
            after = time.process_time(), server.processor_seconds()
            if turn:
                spent[form].append((after[0] - before[0], after[1] - before[1]))
    engine.dispose()
    print(
        f"\n{TURNS} times {ROWS:,} rows into {name}, PostgreSQL\n{'':14}{'client':>12}{'server':>12} (µs of CPU a row)"
    )
    client = {form: 1e6 * statistics.median(one for one, _ in turns) / ROWS for form, turns in spent.items()}
    for form, turns in spent.items():
        mean = 1e6 * statistics.fmean(one for _, one in turns) / ROWS  # it counts in hundredths of a second
        print(f"{form:14}{client[form]:12.1f}{mean:12.1f}")
    assert client["COPY"] == min(client.values())


def _rows(engine: Engine, name: str, seq: int) -> Rows:
    """What the ingestor writes when each machine sends its sample of this number."""
    chance = random.Random(seq)  # noqa: S311 - made-up readings
    with engine.connect() as connection:
        machines = [Machine(key, "home", "m") for key in connection.scalars(select(tables.machine.c.id))]
    streams = [(machine, Stream("00000000000000aa", 1, 1, highest_seq=seq)) for machine in machines]
    if name == "stream":
        return stream_rows(streams)
    sample = telemetry(seq, sampled_at=AT + 10_000 * seq, stream="00000000000000aa", chance=chance)
    return sample_rows([Arrived(machine, stream, sample, sample.sampled_at, 0) for machine, stream in streams])
