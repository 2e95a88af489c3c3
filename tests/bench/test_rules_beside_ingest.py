"""The speed that 30 rules leave to an ingestor: one without rules and one with them take turns in the same run.

Real processes, as in `test_ingest.py`. The 10,000 machines report faster than the interval of 10 s says, so
that the ingestors have work all the time. One of the rules is on the rate of a counter.
"""

import os
import statistics
from pathlib import Path

import pytest
from alert_rules import set_rules, thirty_rules
from bench.lanes import Lane, ingestor_lane
from bench.publisher import ORGS
from sqlalchemy import Engine

from runtime.urls import sqlite_url

MACHINES, COUNT, TURNS = 10_000, 10_000, 11
SPEED_LEAST = 0.95
"""The part of its speed that the ingestor keeps."""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        float(os.environ.get("DASHFLEET_BENCH_SECONDS", "0")) < 60,
        reason="takes minutes: `make bench`; the short form is in test_alert_rules.py",
    ),
]


def test_an_ingestor_keeps_its_speed_beside_thirty_rules(tmp_path: Path) -> None:
    directories = [tmp_path / name for name in ("bare", "ruled")]
    for directory in directories:
        directory.mkdir()
    urls = [sqlite_url(directory / "fleet.db") for directory in directories]
    with (
        ingestor_lane(directories[0], urls[0], machines=MACHINES) as bare,
        ingestor_lane(directories[1], urls[1], machines=MACHINES, prepare=give_rules) as ruled,
    ):
        lanes = [bare, ruled]
        for turn in range(TURNS + 1):
            for lane in lanes[:: 1 if turn % 2 else -1]:
                lane.turn(COUNT)
            if not turn:  # to warm up
                bare.figures.clear()
                ruled.figures.clear()
    kept = speed_kept(bare, ruled)
    print(f"\n{TURNS} turns of {COUNT:,} reports of {MACHINES:,} machines, medians")
    print(f"{'':12}{'CPU per report':>18}{'reports/s':>14}")
    for name, lane in (("no rules", bare), ("30 rules", ruled)):
        print(f"{name:12}{lane.figures.cost:15.1f} µs{lane.figures.rate:14,.0f}")
    print(f"{'kept':12}{kept:18.1%}")
    assert kept >= SPEED_LEAST


def give_rules(fleet: Engine) -> None:
    """Give each organisation 30 rules; about one machine of a hundred fulfils some, as its CPU is at random."""
    rules = [
        rule.model_copy(update={"threshold": 99.0} if rule.metric == "cpu_percent" else {}) for rule in thirty_rules()
    ]
    for number in range(ORGS):
        set_rules(fleet, *rules, org=f"org{number}")


def speed_kept(bare: Lane, ruled: Lane) -> float:
    """The median, over the turns, of the CPU time without rules divided by that with them."""
    turns = zip(bare.figures.microseconds, ruled.figures.microseconds, strict=True)
    return statistics.median(without / with_ for without, with_ in turns)
