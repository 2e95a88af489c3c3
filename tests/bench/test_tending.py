"""How fast the ingestor stores while it rolls up, or prunes, beside one that has nothing of the kind to do.

Both lanes take turns in one run, over as much data. The short form looks at processor time only: it is one thread that
does both, so what tending takes is what storing lacks. On PostgreSQL only in the whole form.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bench.lanes import ingestor_lane
from servers import postgresql
from sqlalchemy import Engine, func, select
from telemetry import telemetry

from ingestor.domain.batch import Arrived, Batch
from ingestor.domain.machine import Machine, Stream
from ingestor.history.partitions import make_day
from ingestor.storage.row_encoding import SAMPLE_COLUMNS, sample_rows
from ingestor.storage.store import Store
from runtime.urls import sqlite_url
from schemas.contract.messages import VITALS
from schemas.database import tables
from schemas.database.engine import open_engine
from schemas.fleet.history import DAY, HOUR, MINUTE

IS_WHOLE = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3")) >= 60
MACHINES = 10_000 if IS_WHOLE else 1_000
COUNT = 50_000 if IS_WHOLE else 3_000
TURNS = 7 if IS_WHOLE else 3
OLD_MINUTES = 30 if IS_WHOLE else 20
DATABASES = ["sqlite", "postgresql"] if IS_WHOLE else ["sqlite"]
LEAST_SHARE = 0.9 if IS_WHOLE else 0.6

pytestmark = pytest.mark.timeout(600)


def old_samples(engine: Engine, minute: int, *, hours_ago: int) -> list[Arrived]:
    """A sample of each machine in this minute of an hour so long ago."""
    at = (time.time_ns() // 1_000_000 // HOUR - hours_ago) * HOUR + minute * MINUTE
    sample = telemetry(minute + 1, sampled_at=at, stream="00000000000000bb", chance=random.Random(minute))  # noqa: S311
    with engine.connect() as connection:
        keys = list(connection.scalars(select(tables.machine.c.id)))
    stream = Stream("00000000000000bb", 99, 1)
    return [Arrived(Machine(key, "home", "m"), stream, sample, at, 0) for key in keys]


def to_roll_up(engine: Engine) -> None:
    """Leave many minutes that are due."""
    store = Store(engine, name="ingestor", dead_letter_max=1)
    for minute in range(OLD_MINUTES):
        store.write(Batch(samples=old_samples(engine, minute, hours_ago=3)))


def rolled_up(engine: Engine) -> None:
    """Leave the same minutes, none of which is due."""
    to_roll_up(engine)
    with engine.begin() as connection:
        connection.execute(tables.dirty.delete())


def to_prune(engine: Engine) -> None:
    """Leave many samples that were rolled up and kept for long enough; where samples are kept by day, in theirs."""
    if engine.dialect.name == "postgresql":
        today = time.time_ns() // 1_000_000 // DAY
        with engine.begin() as connection:
            while make_day(connection, range(today - 4, today)):
                pass
    for minute in range(OLD_MINUTES):
        rows = sample_rows(old_samples(engine, minute, hours_ago=72))
        with engine.begin() as connection:
            found = [dict(zip(SAMPLE_COLUMNS, (*row[:-1], None), strict=True)) for row in rows]
            connection.execute(tables.sample.insert(), found)
            connection.execute(tables.minute.insert(), [_minute_of(row) for row in found])  # pruning finds it by them


def _minute_of(row: Mapping[str, Any]) -> dict[str, Any]:
    at = row["sampled_at"]
    counts = {f"{name}_count": 0 for name in VITALS}
    return {"machine_id": row["machine_id"], "at": at, "samples": 1, "sampled_from": at, "sampled_to": at, **counts}


def to_keep(engine: Engine) -> None:
    """Leave as many, which are kept for longer."""
    to_prune(engine)
    with engine.begin() as connection:
        connection.execute(tables.org.update().values(retention={"samples_seconds": 30 * 24 * HOUR // 1000}))


def marks(engine: Engine) -> int:
    """How many old minutes wait to be rolled up."""
    before = time.time_ns() // 1_000_000 - 2 * HOUR
    return _count(engine, select(func.count()).where(tables.dirty.c.length == MINUTE, tables.dirty.c.at < before))


def old(engine: Engine) -> int:
    """How many samples wait to be pruned."""
    return _count(engine, select(func.count()).where(tables.sample.c.stream_number == 99))


def _count(engine: Engine, query: object) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(query) or 0)  # type: ignore[call-overload]


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize(
    ("prepare", "done", "left"),
    [(to_roll_up, rolled_up, marks), (to_prune, to_keep, old)],
    ids=["roll-up", "pruning"],
)
def test_storing_goes_on_at_nine_tenths_of_its_speed(
    prepare: Callable[[Engine], None],
    done: Callable[[Engine], None],
    left: Callable[[Engine], int],
    database: str,
    tmp_path: Path,
) -> None:
    waiting: list[int] = []

    def prepared(engine: Engine) -> None:
        prepare(engine)
        waiting.append(left(engine))

    places = [tmp_path / name for name in ("alone", "beside")]
    with ExitStack() as stack:
        urls = [
            sqlite_url(place / "fleet.db") if database == "sqlite" else stack.enter_context(postgresql())
            for place in places
        ]
        for place in places:
            place.mkdir()
        engine = open_engine(urls[1])
        stack.callback(engine.dispose)
        alone = stack.enter_context(ingestor_lane(places[0], urls[0], machines=MACHINES, prepare=done))
        beside = stack.enter_context(ingestor_lane(places[1], urls[1], machines=MACHINES, prepare=prepared))
        for turn in range(TURNS + 1):
            alone.turn(COUNT)
            beside.turn(COUNT)
            waiting.append(left(engine))
            if not turn:  # to warm up
                alone.figures.clear()
                beside.figures.clear()
    share = alone.figures.cost / beside.figures.cost
    print(
        f"\n{database}, {TURNS} turns of {COUNT:,} reports: alone {alone.figures.cost:.1f} µs each at "
        f"{alone.figures.rate:,.0f}/s, beside "
        f"{beside.figures.cost:.1f} µs at {beside.figures.rate:,.0f}/s: "
        f"{100 * share:.0f} %; {waiting[0]:,} were waiting, {waiting[1]:,} when measuring began, "
        f"{waiting[-1]:,} still do"
    )
    assert waiting[-1] < waiting[0]
    assert share >= LEAST_SHARE
