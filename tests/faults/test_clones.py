"""Two copies of one machine, as a cloned disk makes them."""

import shutil
import time
from pathlib import Path

import pytest
from faults.fleet import running_fleet
from faults.oracle import say
from faults.scale import SCALE, brokers
from waiting import wait_until


@pytest.mark.parametrize("broker", brokers("embedded"))
def test_a_cloned_data_directory_started_twice_is_named_within_two_intervals(tmp_path: Path, broker: str) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet:
        original = fleet.add_machine("attic", interval_seconds=SCALE.clone_interval)
        fleet.add_machine("other", interval_seconds=SCALE.clone_interval)
        fleet.start()
        fleet.wait_until_present()
        copied = tmp_path / "copy"
        shutil.copytree(original.data, copied)
        clone = fleet.add_machine("attic", data=copied, interval_seconds=SCALE.clone_interval)
        fleet.machines["the original of attic"] = original
        clone.process.start()
        started = time.monotonic()
        wait_until(fleet.incidents, seconds=2 * SCALE.clone_interval, what="an incident")
        say(f"clone on {broker}: named {time.monotonic() - started:.1f} s after its start")
        (incident,) = fleet.incidents()
        assert incident["kind"] == "cloned-identity"
        assert incident["details"]["machine"] == "attic"


@pytest.mark.parametrize("broker", brokers("mosquitto"))
def test_restarts_and_lost_data_directories_are_not_taken_for_clones(tmp_path: Path, broker: str) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet:
        machine = fleet.add_machine("attic")
        fleet.start()
        fleet.wait_until_present()
        for end in (machine.process.kill, machine.process.stop):
            end()
            machine.process.start()
            fleet.flows(more=5)
        machine.process.kill()
        shutil.rmtree(machine.data / "agent")
        shutil.rmtree(machine.hot.parent)  # a machine that was installed anew
        machine.process.start()
        wait_until(lambda: len(fleet.stored()["attic"]) == 2, what="a second stream")
        assert fleet.incidents() == []
