"""Twice as much as the ingestor can store: nothing is lost, its memory stays, and all of it is stored in the end.

What it cannot take yet waits at the broker, and never in the ingestor: it reads only what its next transaction holds.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil
from bench.lanes import ingestor_lane
from bench.publisher import FIRST_SEQ
from sqlalchemy import select

from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine

IS_WHOLE = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3")) >= 60
MACHINES = 10_000 if IS_WHOLE else 1_000
TURNS = 15 if IS_WHOLE else 4
WARM_TURNS = 2
MOST_GROWTH_BYTES = 100 << 20


def test_nothing_is_lost_at_twice_the_rate_that_can_be_stored(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "fleet.db")
    with ingestor_lane(tmp_path, url, machines=MACHINES) as lane:
        for _ in range(WARM_TURNS):
            lane.turn(MACHINES)
        sustained = lane.figures.rates[-1]
        with watched(lane.reader.pid) as memory:
            lane.turn(TURNS * MACHINES, rate=2 * sustained)
        growth = max(memory) - memory[0]
        print(
            f"\n{TURNS * MACHINES:,} reports at {2 * sustained:,.0f}/s, stored at {lane.figures.rates[-1]:,.0f}/s: "
            f"{growth / (1 << 20):.1f} MiB more memory"
        )
        assert growth < MOST_GROWTH_BYTES
    engine = open_engine(url)
    with engine.connect() as connection:
        stored = list(connection.scalars(select(tables.stream.c.stored)))
    engine.dispose()
    assert stored == [f"{FIRST_SEQ}-{FIRST_SEQ + WARM_TURNS + TURNS - 1}"] * MACHINES


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """What memory a process has, in bytes, every 50 ms from now on."""
    process = psutil.Process(pid)
    found = [process.memory_info().rss]
    over = Event()

    def watch() -> None:
        while not over.wait(0.05):
            found.append(process.memory_info().rss)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
