"""An update of a real agent through a real broker: power fails while the new version is tried, and it proves itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from updating import InstalledMachine, a_machine

from agent.installation import environment
from runtime.version import VERSION


@pytest.fixture
def machine(tmp_path: Path, database: Engine) -> Iterator[InstalledMachine]:
    with a_machine(tmp_path, database, "attic") as found:
        yield found


def test_after_a_power_cut_in_the_trial_the_old_version_runs_and_a_version_that_proves_itself_is_committed(
    machine: InstalledMachine,
) -> None:
    order = machine.order(*machine.publish_bundle("0.2.2", "hangs"))
    machine.send(order)
    machine.wait_for_state("trying")
    machine.cut_power()
    machine.start()
    machine.wait_until_runs(VERSION)
    assert machine.outcome(order).reason == "rolled-back"

    done = machine.update("0.3.0")
    assert (done.state, done.detail) == ("succeeded", f"Version 0.3.0 runs; before, it was {VERSION}.")
    machine.wait_until_runs("0.3.0")
    assert environment.current(machine.prefix) != machine.old
    machine.send(order)  # the journal is kept: what was ordered before is answered, not carried out
    assert machine.outcome(order).reason == "rolled-back"
