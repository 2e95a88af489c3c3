"""Bytes of a stored sample with its index, as the ingestor writes it: machines in turns, in the order of time.

The short form stores half a day of ten machines, `make bench` a day of a hundred.
"""

import os
import random
from collections.abc import Iterator

import pytest
from bench.lanes import add_fleet
from ingestion import STREAM
from sqlalchemy import Engine, text
from telemetry import telemetry

from ingestor.domain.batch import Arrived
from ingestor.domain.machine import Machine, Stream
from ingestor.history.partitions import make_day
from ingestor.storage.bulk import bulk
from ingestor.storage.row_encoding import SAMPLE_COLUMNS, sample_rows
from schemas.contract.messages import Sample
from schemas.database import tables
from schemas.database.sample_key import IF_NEW
from schemas.fleet.history import DAY

IS_WHOLE = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3")) >= 60
MACHINES, SAMPLES = (100, 8_640) if IS_WHOLE else (10, 4_320)
AT_ONCE = 20
START = 19_700 * DAY
SIZES = {
    "sqlite": "SELECT sum(pgsize) FROM dbstat WHERE name = 'sample'",
    "postgresql": "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('sample_row')",
}
MOST = {"sqlite": 92.0, "postgresql": 135.0}
TARGET = {"sqlite": 85.0, "postgresql": 130.0}


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def test_a_sample_takes_few_bytes(database: Engine) -> None:
    kind = database.dialect.name
    add_fleet(database, MACHINES)
    samples = bulk(database, tables.sample, SAMPLE_COLUMNS, overwrite=False, if_new=IF_NEW)
    with database.begin() as connection:
        if kind == "postgresql":
            make_day(connection, [START // DAY])
        empty = float(connection.scalar(text(SIZES[kind])) or 0)
    for batch in batches():
        with database.begin() as connection:
            samples.write(connection, sample_rows(batch))
    with database.connect() as connection:
        size = (float(connection.scalar(text(SIZES[kind])) or 0) - empty) / (MACHINES * SAMPLES)
    print(f"{kind}: {size:.1f} bytes of {MACHINES * SAMPLES:,} samples each")
    assert size <= (TARGET if IS_WHOLE else MOST)[kind]


def batches() -> Iterator[list[Arrived]]:
    """Samples of all machines, in the order in which they arrive."""
    chance = random.Random(1)  # noqa: S311 - a repeatable one
    machines = [Machine(key, "home", f"m{key}") for key in range(1, MACHINES + 1)]
    stream = Stream(STREAM, 1, created_at=0)
    batch: list[Arrived] = []
    for number in range(SAMPLES):
        for machine in chance.sample(machines, len(machines)):
            at = START + number * 10_000 + machine.id % 10_000
            told = telemetry(number + 1, sampled_at=at, stream=STREAM, chance=chance)
            sample = Sample(seq=told.seq, sampled_at=at, vitals=told.vitals)
            batch.append(Arrived(machine, stream, sample, at + chance.randrange(20, 300), 0))
        if number % AT_ONCE == AT_ONCE - 1:
            yield batch
            batch = []
