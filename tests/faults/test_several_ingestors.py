"""Two ingestors that share the work on Mosquitto and PostgreSQL: killed at any moment, and nothing is lost."""

import random
import time
from pathlib import Path

import pytest
from faults.fleet import Fleet, running_fleet
from faults.oracle import assert_clean, say
from faults.processes import Process
from faults.scale import SCALE
from sqlalchemy import select
from waiting import wait_until

from ingestor.cluster.leases import LEASE_SECONDS, TIMERS
from schemas.database import tables

TAKE_OVER_SECONDS = LEASE_SECONDS + 10
MACHINES = ("alpha", "beta", "gamma")


def stored_by(fleet: Fleet) -> dict[str, int]:
    """How many samples each ingestor has stored since its last start."""
    with fleet.engine.connect() as connection:
        rows = connection.execute(select(tables.ingestor.c.name, tables.ingestor.c.counters))
        return {row.name: row.counters.get("stored", 0) for row in rows}


def holder(fleet: Fleet, lease: str) -> str:
    with fleet.engine.connect() as connection:
        return str(connection.scalar(select(tables.lease.c.holder).where(tables.lease.c.name == lease)))


def kill_in_turns(fleet: Fleet, ingestors: dict[str, Process], lease: str) -> str:
    """Kill each again and again, under load: a moment, or until the other has taken over. What was seen, in words."""
    chance = random.Random(2)  # noqa: S311 - a repeatable one
    slowest, taken_over = 0.0, 0
    for number in range(SCALE.ingestor_kills):
        for name, process in ingestors.items():
            held = holder(fleet, lease) == name
            process.kill()
            if held and taken_over <= number // 3:
                (other,) = ingestors.keys() - {name}
                wait_until(lambda: holder(fleet, lease) == other, seconds=TAKE_OVER_SECONDS, what="the take-over")  # noqa: B023 - called at once
                taken_over += 1
            else:
                time.sleep(chance.uniform(0, 0.5))
            fleet.flows(more=9)
            process.start()
            back_at = time.monotonic()
            fleet.flows(more=9)
            slowest = max(slowest, time.monotonic() - back_at)
            time.sleep(chance.uniform(0, 0.3))
    return (
        f"{SCALE.ingestor_kills} kills of each of 2 ingestors, {taken_over} take-overs; samples are stored "
        f"{slowest:.1f} s after a return at the latest"
    )


@pytest.mark.timeout(3600)
def test_either_of_two_ingestors_that_share_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    with running_fleet(tmp_path, broker="mosquitto", database="postgresql") as fleet:
        for name in MACHINES:
            fleet.add_machine(name)
        second = fleet.add_ingestor("ingestor-2")
        fleet.configure(reconnect_spread_seconds=0.2)
        fleet.start()
        second.start()
        fleet.flows()
        wait_until(lambda: all(stored_by(fleet).get(name) for name in ("ingestor", "ingestor-2")), what="both store")
        say(kill_in_turns(fleet, {"ingestor": fleet.ingestor, "ingestor-2": second}, TIMERS))
        fleet.settle()
        wait_until(lambda: all(stored_by(fleet).values()), what="both store")
        fleet.wait_until_present()
        assert_clean(fleet, what=f"two ingestors, stored since their last start: {stored_by(fleet)}")
