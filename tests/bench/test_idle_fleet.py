"""What the maintenance of a fleet costs while no message arrives: each hour, an hour of history gets too old.

The clock is the test's, so that two hours pass in seconds; what is measured is processor time. `make bench` measures
10,000 machines, inside `make test` there are fewer, for one hour.
"""

import os
import time
from pathlib import Path

from clocks import Clock
from sqlalchemy import func, insert, select

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_org, add_principal
from ingestor.history.maintenance import Maintenance
from ingestor.history.tasks import tasks
from ingestor.storage.store import Store
from runtime.urls import sqlite_url
from schemas.database import tables
from schemas.database.engine import open_engine, upgrade
from schemas.fleet.history import HOUR, MINUTE, Retention

IS_WHOLE = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3")) >= 60
MACHINES = 10_000 if IS_WHOLE else 500
HOURS = 2 if IS_WHOLE else 1
WINDOW_SECONDS = 10
MOST_SHARE_OF_A_WINDOW = 0.10
MOST_SHARE = 0.02
"""Of one core, with 10,000 machines."""


def test_maintenance_of_an_idle_fleet_is_spread_and_small(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "fleet.db"))
    upgrade(engine)
    add_org(engine, "home", now=lambda: 0)
    add_principal(engine, Principal(Role.MACHINE, "home", "attic"), "made-up", now=lambda: 0)
    clock = Clock()
    old = clock.now() // HOUR * HOUR - Retention().samples_seconds * 1000
    with engine.begin() as connection:
        rows = [{"id": key, "org_id": 1, "name": f"m{key}", "created_at": 0} for key in range(2, MACHINES + 1)]
        connection.execute(insert(tables.machine), rows)
        for at in range(old - HOUR, old + (HOURS + 1) * HOUR, 5 * MINUTE):
            keys = range(1, MACHINES + 1)
            sampled = {"sampled_at": at, "stream_number": 1, "seq": at // MINUTE, "delay_milliseconds": 0}
            connection.execute(insert(tables.sample), [{"machine_id": key, **sampled} for key in keys])
            rolled = {"at": at, "samples": 1, "sampled_from": at, "sampled_to": at}
            counts = {column.name: 0 for column in tables.minute.c if column.name.endswith("_count")}
            connection.execute(insert(tables.minute), [{"machine_id": key, **rolled, **counts} for key in keys])
    maintenance = Maintenance(tasks(Store(engine, name="ingestor", dead_letter_max=1)), clock)
    windows = []
    for _ in range(HOURS * 3600 // WINDOW_SECONDS):
        began = time.process_time()
        for _ in range(WINDOW_SECONDS):
            clock.advance(1.0)
            maintenance.step(busy=False)
        windows.append((time.process_time() - began) / WINDOW_SECONDS)
    with engine.connect() as connection:
        oldest = connection.scalar(select(func.min(tables.sample.c.sampled_at)))
    engine.dispose()
    share = sum(windows) / len(windows)
    print(f"\n{MACHINES} idle machines, {HOURS} h: {share:.2%} of a core, at most {max(windows):.2%} in 10 s")
    assert oldest is not None
    assert clock.now() - Retention().samples_seconds * 1000 - oldest <= 2 * HOUR
    assert max(windows) <= MOST_SHARE_OF_A_WINDOW
    assert share <= MOST_SHARE
