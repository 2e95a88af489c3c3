"""A year of a fleet: how much room it takes, and how soon a machine's year is read, on both databases.

Inside `make test` for a few machines, from which the room for a thousand is worked out: each table's bytes a row times
a thousand machines' rows. Its query's CPU is measured against reading the hours as they are. The whole form writes
those of a thousand, which takes some 10 GB in the temporary directory on SQLite, and twice as much on PostgreSQL:

    DASHFLEET_BENCH_MACHINES=1000 .venv/bin/python -m pytest tests/bench/test_year.py -s
"""

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from bench.year import UNTIL, Extent, generate
from sqlalchemy import Engine, text

from dashboard.widgets import charts
from schemas.database.queries import history
from schemas.database.sample_key import ROWS
from schemas.fleet.history import Resolution, Retention, choose_resolution

MACHINES = int(os.environ.get("DASHFLEET_BENCH_MACHINES", "8"))
WHOLE = MACHINES >= 100
FEW = Retention(samples_seconds=3 * 3600, minutes_seconds=12 * 3600, hours_seconds=366 * 86_400)
EXTENT = Extent(MACHINES, Retention() if WHOLE else FEW)
DAY = 86_400_000
YEAR = 365 * DAY
GIGABYTE = 10**9
MOST_BYTES = 12 * GIGABYTE
POINTS_MOST = 1000
MOST_SECONDS = 0.1
MOST_OF_PLAIN = 1.5
ASKED = 25


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


@pytest.mark.timeout(7200)
def test_a_year_of_a_fleet_fits_and_is_read_at_once(database: Engine, tmp_path: Path) -> None:
    kind = database.dialect.name
    keys = generate(database, EXTENT, directory=tmp_path, say=lambda done: print(f"{kind}: {done}", flush=True))
    if kind == "postgresql":
        with database.begin() as connection:
            connection.execute(text("ANALYZE"))  # as its own daemon does
    each = bytes_a_row(database)
    total = sum(each[table] * rows for table, rows in Extent(1000).rows.items())
    told = ", ".join(f"{table} {size:.1f}" for table, size in each.items())
    print(f"{kind}: bytes a row: {told}; so 1,000 machines take {total / GIGABYTE:.2f} GB")
    for length in (YEAR, 14 * DAY, 2 * DAY) if WHOLE else (YEAR,):
        kept, took, worked, points = read(database, keys, length)
        print(
            f"{kind}: {length // DAY} days of one machine from {kept.table}s: {points} points, "
            f"median {1000 * statistics.median(took):.0f} ms, most {1000 * max(took):.0f} ms "
            f"({1000 * statistics.median(worked):.0f} ms of them in this process), "
            f"{len(keys):,} machines in the store"
        )
        assert points <= POINTS_MOST
        if length == YEAR:
            assert points > POINTS_MOST * 0.9
            plain = statistics.median(read_plainly(database, keys))
            print(f"{kind}: its hours as they are, without any query of ours: {1000 * plain:.0f} ms in this process")
            assert statistics.median(worked) <= MOST_OF_PLAIN * plain
            if WHOLE:
                assert statistics.median(took) <= MOST_SECONDS
    if kind == "sqlite":
        assert each["sample"] <= 100
        assert total <= MOST_BYTES


def read_plainly(engine: Engine, keys: Sequence[int]) -> list[float]:
    """How long this process works to get all hours of each machine, every column of them, from the driver alone."""
    worked = []
    for key in keys[:: max(1, len(keys) // ASKED)]:
        with engine.connect() as connection:
            began = time.thread_time()
            connection.exec_driver_sql(f"SELECT * FROM hour WHERE machine_id = {key}").fetchall()  # noqa: S608 - a number
            worked.append(time.thread_time() - began)
    return worked


def bytes_a_row(engine: Engine) -> dict[str, float]:
    """What a row takes on the disk with its keys, by table: pages that are not full, too."""
    sizes = {
        "sqlite": "SELECT sum(pgsize) FROM dbstat WHERE name = :table",
        "postgresql": "SELECT pg_total_relation_size(CAST(:table AS regclass)) + coalesce("
        "(SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(CAST(:table AS regclass)) WHERE isleaf), 0)",
    }
    kind = engine.dialect.name
    names = {"sample": ROWS} if kind == "postgresql" else {}
    with engine.connect() as connection:
        return {
            table: float(connection.execute(text(sizes[kind]), {"table": names.get(table, table)}).scalar_one()) / rows
            for table, rows in EXTENT.rows.items()
        }


def read(engine: Engine, keys: Sequence[int], length: int) -> tuple[Resolution, list[float], list[float], int]:
    """Ask for so long a time of some machines, each once, as the machine's page does.

    How long each took, and how long this process worked for it, which says more when others work too; and the points.
    """
    kept = choose_resolution(step=charts.step(length, 0), age=length, retention=Retention())
    step = charts.step(length, 10.0, kept.length)
    took, worked, points = [], [], 0
    for key in keys[:: max(1, len(keys) // ASKED)]:
        started, began = time.perf_counter(), time.thread_time()
        rows = history.read_history(engine, key, start=UNTIL - length, end=UNTIL, step=step, resolution=kept)
        took.append(time.perf_counter() - started)
        worked.append(time.thread_time() - began)
        points = max(points, len(rows))
    return kept, took, worked, points
