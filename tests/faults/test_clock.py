"""Machines whose clock is wrong, and is set in the middle of an outage."""

import time
from itertools import pairwise
from pathlib import Path

import pytest
from faults.fleet import Fleet, Machine, running_fleet
from faults.oracle import assert_clean, say
from faults.scale import brokers
from servers import require_program
from sqlalchemy import select
from waiting import wait_until

from schemas.database import tables

DAY = 86_400
TOLERANCE = 2.5
"""Seconds: uptime dates samples to the second, the rest is the way to the database."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("broker", brokers("mosquitto"))
def test_clocks_that_are_wrong_and_are_set_during_an_outage_lose_and_reorder_nothing(
    tmp_path: Path, broker: str
) -> None:
    began = time.monotonic()
    with running_fleet(tmp_path, broker=broker) as fleet:
        fleet.configure(stale_seconds=30.0, offline_seconds=60.0)  # far below the error of a clock, far above a pause
        machines = {with_a_clock(fleet, "fast", DAY): DAY, with_a_clock(fleet, "slow", -DAY): -DAY}
        fleet.start()
        fleet.flows(more=40)
        fleet.wait_until_present()
        for machine, ahead in machines.items():
            assert abs(shown_offset(fleet, machine) + ahead) < 1.0
        fleet.broker.kill()
        for machine in machines:
            wait_for_samples(machine, 20)
            set_clock(machine, 0)
        for machine in machines:
            wait_for_samples(machine, 20)
        fleet.broker.start()
        fleet.settle()
        for machine in machines:
            wait_for_offset(fleet, machine, 0.0)
            changes = [change[:3] for change in fleet.transitions(machine.name)]
            assert changes == [("unknown", "online", "connected")]
        verdict = assert_clean(fleet, what=f"clocks a day wrong and set during an outage, {broker}")
        for machine in machines:
            times = corrected(fleet, machine)
            backwards = max((earlier - later for earlier, later in pairwise(times)), default=0) / 1000
            say(f"{machine.name}: of {verdict.stored} samples none is more than {backwards:.1f} s out of order")
            assert backwards <= TOLERANCE
            assert times[-1] - times[0] < 1000 * (time.monotonic() - began + TOLERANCE)


def with_a_clock(fleet: Fleet, name: str, ahead: int) -> Machine:
    """A machine whose wall clock is so many seconds ahead; its monotonic clock is not touched."""
    library = _faketime()
    machine = fleet.add_machine(
        name,
        environment={
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(fleet.directory / f"{name}.clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    set_clock(machine, ahead)
    return machine


def set_clock(machine: Machine, ahead: int) -> None:
    """Step the machine's wall clock."""
    clock = machine.data.parent / f"{machine.name}.clock"
    new = clock.with_suffix(".new")
    new.write_text(f"{ahead:+}\n")
    new.replace(clock)


def wait_for_samples(machine: Machine, count: int) -> None:
    """Wait until the machine has measured so many more."""
    wanted = machine.issued + count
    wait_until(lambda: machine.issued >= wanted, what=f"{count} samples more")


def shown_offset(fleet: Fleet, machine: Machine) -> float:
    """What is shown as the server's clock minus the machine's, in seconds."""
    return float(fleet.look()[machine.name]["clock_offset_milliseconds"]) / 1000


def wait_for_offset(fleet: Fleet, machine: Machine, offset: float) -> None:
    wait_until(lambda: abs(shown_offset(fleet, machine) - offset) < 2.0, what=f"the new offset of {machine.name}")


def corrected(fleet: Fleet, machine: Machine) -> list[int]:
    """The samples' times by the server's clock, in milliseconds, in the order of their numbers."""
    table = tables.sample
    query = select(table.c.sampled_at + table.c.clock_offset_milliseconds).join(tables.machine)
    query = query.where(tables.machine.c.name == machine.name).order_by(table.c.seq)
    with fleet.engine.connect() as connection:
        return [int(row[0]) for row in connection.execute(query)]


def _faketime() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        require_program("faketime", "libfaketime")
    return found[0]
