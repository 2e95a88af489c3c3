"""What the ingestor costs beside a bare subscriber of the same telemetry in the same run, and how much it stores.

Real processes: Mosquitto, a publisher that speaks for 10,000 machines at QoS 1, and `dashfleet ingestor` as it comes,
acknowledging. Both lanes take turns, so that whatever else the machine does meets both alike. `make bench` takes longer
and more turns; inside `make test` the bounds are wide, as the machine is busy.
"""

import os
from pathlib import Path

import pytest
from bench.lanes import bare_lane, ingestor_lane
from servers import postgresql

from runtime.urls import sqlite_url

SECONDS = float(os.environ.get("DASHFLEET_BENCH_SECONDS", "3"))
IS_WHOLE = SECONDS >= 60
MACHINES = 10_000 if IS_WHOLE else 1_000
COUNT = 50_000 if IS_WHOLE else 3_000
TURNS = 9 if IS_WHOLE else 3
MOST_RATIO = {"sqlite": 1.8, "postgresql": 2.4}
SLACK = 1.0 if IS_WHOLE else 3.0
LEAST_RATE = 10_000

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_storing_costs_little_more_than_receiving(database: str, tmp_path: Path) -> None:
    if database == "sqlite":
        measure(database, sqlite_url(tmp_path / "fleet.db"), tmp_path)
    else:
        with postgresql() as url:
            measure(database, url, tmp_path)


def measure(database: str, url: str, directory: Path) -> None:
    """Let the lanes take turns, print a table, and judge it."""
    with (
        bare_lane(directory, machines=MACHINES, count=COUNT) as bare,
        ingestor_lane(directory, url, machines=MACHINES) as storing,
    ):
        for turn in range(TURNS + 1):
            bare.turn(COUNT)
            storing.turn(COUNT)
            if not turn:  # to warm up
                bare.figures.clear()
                storing.figures.clear()
    ratio = storing.figures.cost / bare.figures.cost
    print(f"\n{TURNS} turns of {COUNT:,} reports of {MACHINES:,} machines, {database}, medians")
    print(f"{'':16}{'CPU per report':>18}{'reports/s':>14}")
    for name, lane in (("bare subscriber", bare), ("ingestor", storing)):
        print(f"{name:16}{lane.figures.cost:15.1f} µs{lane.figures.rate:14,.0f}")
    print(f"{'ratio':16}{ratio:18.2f}")
    assert ratio <= MOST_RATIO[database] * SLACK
    if IS_WHOLE and database == "sqlite":
        assert storing.figures.rate >= LEAST_RATE
