"""Disks that are full, that fail, that are damaged, and that lose their power."""

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from faults.disks import copy_database, failing_syncs, fill, free, image, mounted, small_disk
from faults.fleet import Fleet, Machine, running_fleet
from faults.oracle import assert_clean, judge, say
from faults.scale import IS_WHOLE, SCALE, brokers
from waiting import wait_until

from agent.outbox.outbox import Outbox
from runtime.clock import SystemClock

NORMAL_SECONDS = 10.0
DISK_FAILED = b"the disk queue failed"


@pytest.mark.parametrize("broker", brokers("mosquitto"))
def test_a_full_disk_stops_neither_the_agent_nor_its_live_data_and_is_normal_again_soon(
    tmp_path: Path, broker: str
) -> None:
    with small_disk(tmp_path / "attic") as disk, running_fleet(tmp_path, broker=broker) as fleet:
        machine = fleet.add_machine("attic")
        fleet.start()
        fleet.flows()
        fill(disk)
        go_through_an_outage(fleet, machine)
        free(disk)
        be_normal_again_soon(fleet, machine, f"disk full, {broker}")


@pytest.mark.parametrize("broker", brokers("mosquitto"))
def test_a_disk_with_io_errors_stops_neither_the_agent_nor_its_live_data(tmp_path: Path, broker: str) -> None:
    with running_fleet(tmp_path, broker=broker) as fleet:
        machine = fleet.add_machine("attic")
        fleet.start()
        fleet.flows()
        with failing_syncs(machine.process.pid, tmp_path / "strace.log"):
            go_through_an_outage(fleet, machine)
        be_normal_again_soon(fleet, machine, f"EIO, {broker}")


@pytest.mark.parametrize("where", ["cold", "hot", "both"] if IS_WHOLE else ["both"])
def test_a_corrupt_outbox_is_set_aside_and_the_agent_runs_within_seconds_and_says_so(
    tmp_path: Path, where: str
) -> None:
    with running_fleet(tmp_path, broker="mosquitto") as fleet:
        machine = fleet.add_machine("attic")
        fleet.start()
        fleet.flows()
        fleet.settle()
        machine.process.kill()
        healthy = seconds_to_a_sample(fleet, machine)  # what a start takes on this machine, as busy as it is
        fleet.settle()
        machine.process.kill()
        for path in (machine.cold, machine.hot):
            if where in ("both", path.stem.replace("outbox", "cold")):
                damage(path)
        took = seconds_to_a_sample(fleet, machine)
        aside = [found for path in (machine.cold, machine.hot) for found in path.parent.glob("*.corrupt-*")]
        say(f"{where} corrupt: a sample is stored {took:.1f} s after the start, set aside: {len(aside)}")
        assert took - healthy < 4.0
        assert b"was corrupt" in machine.process.output
        assert len([path for path in aside if not path.name.endswith(("-wal", "-shm"))]) == (
            2 if where == "both" else 1
        )
        machine.process.stop()
        verdict = judge(fleet)
        assert verdict.spurious == verdict.corrupted == 0, verdict


def seconds_to_a_sample(fleet: Fleet, machine: Machine) -> float:
    """Start the agent, and return the time until a sample of it is stored."""
    started = time.monotonic()
    machine.process.start()
    fleet.flows(more=1)
    return time.monotonic() - started


@pytest.mark.timeout(900)
def test_a_power_cut_costs_no_sample_that_was_on_disk_and_no_number_is_used_twice(tmp_path: Path) -> None:
    at_risk, accepted = [], 0
    with image(tmp_path) as disk, running_fleet(tmp_path, broker="mosquitto") as fleet:
        machine = fleet.add_machine("attic", data=disk.mount / "attic")
        machine.process.start()  # no broker: every sample goes to disk
        for cut in range(SCALE.power_cuts):
            wait_for_samples(machine, 20)
            os.kill(machine.process.pid, signal.SIGSTOP)
            try:
                disk.cut_power(tmp_path / "after.img")
                waits_in_memory, stream, next_seq = look_into(machine.hot, tmp_path / f"hot-{cut}")
            finally:
                os.kill(machine.process.pid, signal.SIGCONT)
            with mounted(tmp_path / "after.img", tmp_path / "after") as after:
                kept, new_stream = reopen(after / "attic" / "agent" / "outbox.db", tmp_path / f"hot-{cut}.db", stream)
            lost = set(range(1, next_seq)) - kept - waits_in_memory
            assert not lost, f"cut {cut}: {len(lost)} of {next_seq - 1} lost"
            assert new_stream != stream
            at_risk.append(len(waits_in_memory))
            accepted += len(kept)
        say(
            f"{SCALE.power_cuts} power cuts: 0 of {accepted} samples on disk lost; "
            f"in memory only at that moment: {max(at_risk)} at most"
        )
        fleet.start_server()
        fleet.settle()
        assert_clean(fleet, what="power cuts")


def go_through_an_outage(fleet: Fleet, machine: Machine) -> None:
    """The broker goes, so that samples have to wait on a disk that takes none; then they and live ones go out."""
    fleet.broker.kill()
    wait_until(lambda: DISK_FAILED in machine.process.output, what="the disk's failure noticed")
    wait_for_samples(machine, 20)
    fleet.broker.start()
    fleet.settle()
    assert machine.process.running


def be_normal_again_soon(fleet: Fleet, machine: Machine, what: str) -> None:
    """The disk is well again: the next outage's samples wait there."""
    well_at = time.time_ns()
    fleet.broker.kill()
    wait_until(lambda: written_at(machine) > well_at, seconds=NORMAL_SECONDS, what="samples on disk again")
    say(f"{what}: samples on disk {(time.time_ns() - well_at) / 1e9:.1f} s after it was well")
    assert machine.process.running
    fleet.broker.start()
    fleet.settle()
    assert_clean(fleet, what=what)


def wait_for_samples(machine: Machine, count: int) -> None:
    wanted = machine.issued + count
    wait_until(lambda: machine.issued >= wanted, seconds=30, what=f"{count} samples more")


def damage(path: Path) -> None:
    """Overwrite a database and what belongs to it."""
    for tail in ("", "-wal"):
        file = path.with_name(path.name + tail)
        if file.exists():
            file.write_bytes(b"\xa5" * max(8192, file.stat().st_size))


def look_into(hot: Path, copy: Path) -> tuple[set[int], str, int]:
    """What waits in the hot store of a stopped process, its stream, and its next number."""
    connection = sqlite3.connect(copy_database(hot, copy))
    try:
        stream, next_seq = connection.execute("SELECT name, next_seq FROM stream ORDER BY id DESC LIMIT 1").fetchone()
        return {row[0] for row in connection.execute("SELECT seq FROM sample")}, stream, next_seq
    finally:
        connection.close()


def reopen(cold: Path, hot: Path, stream: str) -> tuple[set[int], str]:
    """What the disk holds of a stream after the next boot, and the stream that this begins."""
    connection = sqlite3.connect(cold)
    try:
        rows = connection.execute(
            "SELECT seq FROM sample JOIN stream ON stream.id = stream_id WHERE name = ?", (stream,)
        )
        kept = {row[0] for row in rows}
    finally:
        connection.close()
    outbox = Outbox(cold, hot, max_bytes=64 << 20, boot="another boot", clock=SystemClock())
    assert outbox.quarantined == []
    begun = outbox.stream
    outbox.close()
    return kept, begun


def written_at(machine: Machine) -> int:
    """When the disk queue was written to last, in nanoseconds."""
    return max(path.stat().st_mtime_ns for path in machine.cold.parent.glob("outbox.db*"))
