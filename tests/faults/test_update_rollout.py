"""An update of 50 real agents with two canaries: all run the new version, or the first failure stops it.

Whole with `make faults`; the short form is in tests/ingestor/commands/test_rollouts.py and tests/agent/updates. Figures
are printed, with `-s`.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from acting import Operator, order_of
from available_time import ProcessorTime
from sites import Site, site
from sqlalchemy import Engine
from updating import InstalledMachine
from waiting import wait_until

from broker.access.credentials import new_secret
from broker.client.mqtt import Mqtt
from ingestor.admin.access import add_principal
from ingestor.files.file_rates import FileRates
from ingestor.files.file_server import FileServer
from ingestor.files.file_store import BundleStore
from ingestor.files.machine_files import MachineFiles
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from runtime.version import VERSION
from schemas.contract.commands import Rollout
from schemas.database.queries.commands import list_commands

WHOLE = os.environ.get("DASHFLEET_FAULTS") == "whole"
MACHINES, CANARIES, PER_MINUTE = 50, 2, 30
SECONDS = 180.0

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not WHOLE, reason="the short form is in tests/ingestor/commands/test_rollouts.py"),
]


class UpdatedFleet:
    """Machines of one operator at one server, with a bundle of a new version in common."""

    def __init__(self, directory: Path, engine: Engine, server: Site) -> None:
        self.engine = engine
        clock = SystemClock()
        self.operator = Operator(clock)
        secret, principal = new_secret(), self.operator.principal
        add_principal(engine, principal, secret, now=clock.now)
        self._client = Mqtt(
            ServerAddress.parse(server.server), username=principal.username, password=secret, subscriptions=[]
        )
        self.machines = [
            InstalledMachine(directory / f"m{number}", server, engine, f"m{number}", self.operator)
            for number in range(MACHINES)
        ]
        for machine in self.machines:
            machine.bundle = directory / "bundle"

    def start(self) -> None:
        for machine in self.machines:
            machine.start()
        for machine in self.machines:
            machine.wait_until_runs(VERSION)

    def stop(self) -> None:
        for machine in self.machines:
            machine.stop()
        self._client.close()

    def update(self, version: str, fault: str = "") -> None:
        """Order the update of all machines, with canaries."""
        bundles = [machine.publish_bundle(version, fault) for machine in self.machines]
        orders = [machine.order(*bundle) for machine, bundle in zip(self.machines, bundles, strict=True)]
        self.first = order_of(orders[0]).id
        message = self.operator.act(*orders, rollout=Rollout(canary=CANARIES, per_minute=PER_MINUTE))
        wait_until(lambda: self._client.receive(10, 0.1) is not None and self._client.connected, what="the connection")
        assert self._client.publish(message)
        self._client.flush(5)

    def states(self) -> Counter[str]:
        return Counter(row["state"] for row in list_commands(self.engine, limit=2 * MACHINES))

    def problems(self) -> set[str]:
        return {f"{row['reason']}: {row['detail']}" for row in list_commands(self.engine, limit=2 * MACHINES)}

    def settled(self) -> bool:
        self._client.receive(10, 0.1)
        states = self.states()
        return states.total() == MACHINES and not {"queued", "sent", "running"} & set(states)


@pytest.fixture
def fleet(tmp_path: Path, database: Engine) -> Iterator[UpdatedFleet]:
    files = MachineFiles(FileServer([BundleStore(tmp_path / "bundle").find], FileRates(SystemClock())))
    with site(database, "home", files=files) as server:
        made = UpdatedFleet(tmp_path, database, server)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def has_all_samples(machine: InstalledMachine) -> bool:
    made, stored, _ = machine.ledger()
    return made == stored


def test_fifty_agents_are_updated_in_three_minutes_without_losing_a_sample_or_the_journal(fleet: UpdatedFleet) -> None:
    pids = [machine.process.pid for machine in fleet.machines if machine.process is not None]
    began, processors = time.monotonic(), ProcessorTime(pids)
    fleet.update("0.3.0")
    wait_until(fleet.settled, seconds=900, what="the outcome of all updates")
    took, others = time.monotonic() - began, processors.others_seconds / (os.cpu_count() or 1)
    print(f"{MACHINES} agents were updated in {took:.0f} s: {dict(fleet.states())}")
    print(f"{processors.own_seconds:.0f} s of the processors, and others used each of them for {others:.0f} s")
    assert fleet.states() == {"succeeded": MACHINES}, fleet.problems()
    for machine in fleet.machines:
        machine.wait_until_runs("0.3.0")
        wait_until(partial(has_all_samples, machine), seconds=60, what="all samples")
    made, stored, twice = (
        sum(column) for column in zip(*(machine.ledger() for machine in fleet.machines), strict=True)
    )
    print(f"{made} samples made, {stored} stored, {twice} arrived twice")
    assert made == stored
    first = fleet.machines[0]
    again = first.order("0.3.0", "a" * 64)
    first.send(again)
    assert first.outcome(again).reason in ("arguments", "not-fetched")  # the new version takes orders
    assert took < SECONDS + others


@pytest.mark.parametrize("fault", ["crashes", "hangs", "cannot connect"])
def test_a_version_that_fails_on_the_canaries_is_sent_to_no_other_machine(fleet: UpdatedFleet, fault: str) -> None:
    fleet.update("0.3.0", fault)
    wait_until(fleet.settled, seconds=300, what="the outcome of all updates")
    states = fleet.states()
    print(f"{fault}: {dict(states)}")
    assert states["cancelled"] == MACHINES - CANARIES
    assert states["succeeded"] == 0
    for machine in fleet.machines:
        machine.wait_until_runs(VERSION)


def test_a_canary_that_loses_power_stops_the_update(fleet: UpdatedFleet) -> None:
    fleet.update("0.3.0", "hangs")
    canary = next(machine for machine in fleet.machines if _is_canary(fleet, machine))
    canary.wait_for_state("trying")
    canary.cut_power()
    canary.start()
    wait_until(fleet.settled, seconds=300, what="the outcome of all updates")
    assert fleet.states()["cancelled"] == MACHINES - CANARIES
    canary.wait_until_runs(VERSION)


def _is_canary(fleet: UpdatedFleet, machine: InstalledMachine) -> bool:
    def sent() -> list[str]:
        fleet.settled()
        return [row["machine"] for row in list_commands(fleet.engine, limit=100) if row["state"] in ("sent", "running")]

    return machine.name in wait_until(sent, what="the canaries")
