"""Updates under attack and without power, and a file on a link that breaks: short by default, whole with `make faults`.

Figures of the whole form are printed, with `-s`.
"""

import hashlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from acting import Operator
from sqlalchemy import Engine
from updating import InstalledMachine, a_machine

from agent.installation import environment
from runtime.clock import SystemClock
from runtime.version import VERSION

WHOLE = os.environ.get("DASHFLEET_FAULTS") == "whole"
BACK_SECONDS = 90.0
"""Time within which the old version is back."""

pytestmark = pytest.mark.timeout(3600 if WHOLE else 300)


@pytest.fixture
def machine(tmp_path: Path, database: Engine) -> Iterator[InstalledMachine]:
    with a_machine(tmp_path, database, "attic") as found:
        yield found


@pytest.mark.skipif(not WHOLE, reason="the short form is in tests/agent/updates/test_update_process.py")
def test_after_power_cuts_at_20_points_of_an_update_the_old_version_runs(machine: InstalledMachine) -> None:
    chance = random.Random(11)  # noqa: S311 - the same each time
    slowest = 0.0
    for number in range(20):
        order = machine.order(*machine.publish_bundle(f"0.2.{number + 1}", "hangs"))
        machine.send(order)
        time.sleep(chance.random() * 4)  # the point: before, while and after the new version starts
        machine.cut_power()
        began = time.monotonic()
        machine.start()
        machine.wait_until_runs(VERSION)
        slowest = max(slowest, time.monotonic() - began)
        assert machine.outcome(order).state in ("failed", "rejected")
        assert environment.current(machine.prefix) == machine.old
    print(f"20 power cuts: the old version was back after {slowest:.1f} s at most")
    assert slowest < BACK_SECONDS


@pytest.mark.skipif(not WHOLE, reason="the short form is in tests/agent/updates/test_trial.py")
@pytest.mark.parametrize("fault", ["crashes", "hangs", "cannot connect", "is another version"])
def test_a_new_version_that_does_not_work_gives_way_to_the_old_one(machine: InstalledMachine, fault: str) -> None:
    order = machine.order(*machine.publish_bundle("0.2.1", fault))
    machine.send(order)
    machine.wait_for_state("trying")
    began = time.monotonic()
    machine.wait_for_state("rolled-back", seconds=BACK_SECONDS)
    machine.wait_until_runs(VERSION)
    took = time.monotonic() - began
    print(f"{fault}: the old version was back after {took:.1f} s")
    assert took < BACK_SECONDS
    assert machine.outcome(order).reason == "rolled-back"


def test_no_forged_replayed_or_downgraded_update_is_installed_by_a_client_with_all_rights_at_the_broker(
    machine: InstalledMachine,
) -> None:
    bundle = machine.publish_bundle("0.3.0")
    forger = Operator(SystemClock())
    attempts = 200 if WHOLE else 12
    older = hashlib.sha256(b"an older bundle").hexdigest()
    genuine = machine.order("0.1.0", older)
    for number in range(attempts):
        arguments = {"version": bundle[0], "sha256": bundle[1]}
        order = (
            forger.order("update", machine.name, arguments=arguments),
            machine.operator.order("update", "cellar", arguments=arguments),
            genuine,
            genuine.model_copy(
                update={"statement": genuine.statement.replace("0.1.0", "0.3.0").replace(older, bundle[1])}
            ),
        )[number % 4]
        machine.publish(order)
    marker = machine.operator.order("ping", machine.name)
    machine.send(marker)
    assert machine.outcome(marker).state == "succeeded"  # all before it were handled
    installed = [result for result in machine.results if result.action == "update" and result.state != "rejected"]
    print(f"{len(installed)} of {attempts} were installed")
    assert installed == []
    rejected = {result.reason for result in machine.results if result.state == "rejected"}
    assert rejected == {"signature", "target", "arguments"}
    assert environment.current(machine.prefix) == machine.old
    assert machine.runs == VERSION
