"""The outbox: no sample is lost, no number is assigned twice, every size is bounded."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clocks import Clock
from outboxes import (
    OutboxMachine,
    ack,
    count_waiting,
    damage_readings,
    drain,
    drop_cache,
    fill_disk,
    flip,
    free_disk,
    numbers,
    put,
)
from servers import require_program

from agent.outbox import outbox as outbox_module
from agent.outbox.outbox import Outbox
from agent.outbox.sample_file import SampleFile
from agent.sqlite_file import CORRUPT_KEPT, move_aside
from runtime.clock import SystemClock
from runtime.errors import SettingsError
from schemas.contract.ack import Range
from schemas.contract.messages import Vitals

# Numbers and streams.


def test_samples_are_numbered_from_one_without_a_gap(machine: OutboxMachine) -> None:
    outbox = machine.open()

    assert [sample.seq for sample in put(outbox, 3)] == [1, 2, 3]
    assert outbox.next_seq == 4


def test_numbers_go_on_after_acks_spills_and_a_close(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    ack(outbox, 1, 3)
    outbox.spill()
    put(outbox, 2)
    outbox.close()

    again = machine.open()

    assert again.stream == outbox.stream
    assert [sample.seq for sample in put(again)] == [6]
    assert numbers(again) == [4, 5, 6]


def test_a_sample_comes_back_as_it_was_measured(machine: OutboxMachine) -> None:
    outbox = machine.open()
    vitals = Vitals(cpu_percent=12.5, memory_used_bytes=2**40, load_1m=None)
    kept = outbox.append(1_700_000_000_123, vitals, {"fan_rpm": 1200.0, "gpu_percent": None})

    batch = outbox.batch(10)

    assert batch is not None
    assert batch.samples == [kept]
    assert kept.vitals == vitals
    assert kept.extra == {"fan_rpm": 1200.0, "gpu_percent": None}


def test_a_kill_keeps_the_stream_its_numbers_and_its_samples(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    ack(outbox, 2)

    machine.kill()
    again = machine.open()

    assert again.stream == outbox.stream
    assert numbers(again) == [1, 3]
    assert again.next_seq == 4


def test_a_kill_after_everything_was_acked_repeats_no_number(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 5)
    ack(outbox, 1, 5)

    machine.kill()

    assert machine.open().next_seq == 6


def test_a_killed_process_has_kept_whatever_append_returned(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from agent.outbox.outbox import Outbox\n"
        "from runtime.clock import SystemClock\n"
        "from schemas.contract.messages import Vitals\n"
        "at = Path(sys.argv[1])\n"
        "outbox = Outbox(at / 'cold.db', at / 'hot.db', max_bytes=1 << 22, boot='a', clock=SystemClock())\n"
        "while True:\n"
        "    sample = outbox.append(1, Vitals(), {})\n"
        "    if sample.seq % 7 == 0:\n"
        "        outbox.spill()\n"
        "    print(sample.seq, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        for _ in range(50):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        printed = process.stdout.read().split()
    process.wait()

    outbox = Outbox(tmp_path / "cold.db", tmp_path / "hot.db", max_bytes=1 << 22, boot="a", clock=SystemClock())

    last = 50 + sum(word.isdigit() for word in printed)
    kept = numbers(outbox, 100_000)
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) >= last - 1  # the last line may be truncated
    assert outbox.next_seq == len(kept) + 1
    outbox.close()


def test_another_boot_begins_a_new_stream_and_puts_the_old_samples_on_disk(machine: OutboxMachine) -> None:
    before = machine.open()
    put(before, 3)
    machine.reboot()

    after = machine.open()
    put(after)

    assert after.stream != before.stream
    assert drain(after) == [(before.stream, [1, 2, 3]), (after.stream, [1])]


def test_what_an_earlier_boot_left_survives_the_loss_of_the_memory_files(machine: OutboxMachine) -> None:
    before = machine.open()
    put(before, 3)
    machine.reboot()
    machine.open()
    machine.kill()
    machine.hot.unlink()

    assert drain(machine.open()) == [(before.stream, [1, 2, 3])]


def test_a_lost_memory_file_begins_a_new_stream_though_the_boot_is_the_same(machine: OutboxMachine) -> None:
    before = machine.open()
    put(before, 2)
    machine.kill()
    machine.hot.unlink()

    after = machine.open()

    assert after.stream != before.stream
    assert after.next_seq == 1


def test_streams_drain_oldest_first_and_a_batch_never_mixes_them(machine: OutboxMachine) -> None:
    streams = []
    for _ in range(3):
        outbox = machine.open()
        streams.append(outbox.stream)
        put(outbox, 4)
        machine.reboot()

    assert drain(machine.open(), limit=3) == [(stream, part) for stream in streams for part in ([1, 2, 3], [4])]


def test_an_older_stream_drains_though_the_clock_was_set_back_between_the_boots(machine: OutboxMachine) -> None:
    before = machine.open()
    put(before, 2)
    machine.reboot()
    machine.clock.advance(-86_400)
    after = machine.open()
    put(after)

    assert drain(after) == [(before.stream, [1, 2]), (after.stream, [1])]


def test_an_older_stream_drains_though_it_was_out_of_sight_when_the_clock_was_set_back(machine: OutboxMachine) -> None:
    before = machine.open()
    put(before, 2)
    before.spill()
    machine.reboot()
    machine.hot.unlink()
    machine.cold.rename(away := machine.cold.with_name("away"))
    machine.cold.mkdir()
    machine.clock.advance(-86_400)
    after = machine.open()
    put(after)
    machine.cold.rmdir()
    away.rename(machine.cold)

    assert sorted(drain(after)) == [(before.stream, [1, 2]), (after.stream, [1])]


def test_the_ledger_of_a_batch_is_that_of_its_own_stream(machine: OutboxMachine) -> None:
    before = machine.open()
    put(before, 5)
    ack(before, 1, 2)
    machine.reboot()
    after = machine.open()
    put(after, 9)
    ack(after, 1, 8)

    batch = after.batch(10)

    assert batch is not None
    assert (batch.stream, batch.oldest_seq) == (before.stream, 3)
    assert after.oldest_seq == 9


# Acks.


def test_acked_numbers_leave_and_the_others_stay(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 10)
    outbox.ack(outbox.stream, [Range(first=1, last=3), Range(first=5, last=5), Range(first=9, last=10)])

    assert numbers(outbox) == [4, 6, 7, 8]
    assert count_waiting(outbox) == 4


def test_acks_reach_samples_in_memory_and_on_disk(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 4)
    outbox.spill()
    put(outbox, 4)
    ack(outbox, 3, 6)

    assert numbers(outbox) == [1, 2, 7, 8]


def test_an_ack_for_an_unknown_stream_changes_nothing(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 2)
    ack(outbox, 1, 2, stream="f" * 16)

    assert numbers(outbox) == [1, 2]


def test_an_ack_for_numbers_not_given_out_yet_does_not_reach_into_the_future(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 2)
    ack(outbox, 2, 2**53 - 1)
    put(outbox, 2)
    ack(outbox, 1)

    assert numbers(outbox) == [3, 4]


def test_an_ack_for_the_future_is_not_remembered_while_the_disk_cannot_be_reached(machine: OutboxMachine) -> None:
    machine.cold.mkdir()
    outbox = machine.open()
    put(outbox, 2)
    ack(outbox, 2, 2**53 - 1)
    put(outbox, 2)
    ack(outbox, 1)

    assert numbers(outbox) == [3, 4]


def test_acked_numbers_are_deleted_from_the_disk_when_it_comes_back(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 4)
    outbox.close()
    machine.cold.rename(away := machine.cold.with_name("away"))
    machine.cold.mkdir()
    again = machine.open()
    for seq in (1, 2, 4):
        ack(again, seq)
    machine.cold.rmdir()
    away.rename(machine.cold)
    put(again)
    ack(again, 5)

    assert numbers(again) == [3]


def test_acks_that_the_disk_does_not_take_do_not_pile_up(machine: OutboxMachine) -> None:
    machine.cold.mkdir()
    outbox = machine.open()
    for _ in range(300):
        ack(outbox, put(outbox)[0].seq)

    assert len(outbox._acknowledged) == 1


def test_samples_that_are_acked_in_time_never_touch_the_disk(machine: OutboxMachine) -> None:
    outbox = machine.open()

    def on_disk() -> list[tuple[str, bytes]]:
        return sorted((file.name, file.read_bytes()) for file in machine.cold.parent.iterdir())

    before = on_disk()
    for _ in range(20):
        put(outbox)
        ack(outbox, outbox.next_seq - 1)
        outbox.spill()
        assert outbox.oldest_seq == outbox.next_seq

    assert on_disk() == before


# Batches, spilling and the figures for the ledger.


def test_a_batch_leaves_out_what_was_just_published(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 5)
    batch = outbox.batch(10, before_seq=4)

    assert batch is not None
    assert [sample.seq for sample in batch.samples] == [1, 2, 3]
    assert outbox.batch(10, before_seq=1) is None


def test_a_batch_is_no_longer_than_asked_and_takes_the_oldest(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    outbox.spill()
    put(outbox, 3)

    assert numbers(outbox, 2) == [1, 2]
    assert numbers(outbox, 5) == [1, 2, 3, 4, 5]


def test_nothing_moves_to_disk_while_all_is_fresh(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    outbox.spill(before_seq=1)
    machine.kill()
    machine.hot.unlink()

    assert drain(machine.open()) == []


def test_everything_moves_to_disk_as_soon_as_something_is_not_fresh(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    outbox.spill(before_seq=2)
    machine.kill()
    machine.hot.unlink()

    assert drain(machine.open()) == [(outbox.stream, [1, 2, 3])]


def test_a_sample_that_is_in_both_stores_is_sent_once(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    shutil.copytree(machine.hot.parent, machine.place / "kept")
    outbox.spill()
    machine.kill()
    shutil.copytree(machine.place / "kept", machine.hot.parent, dirs_exist_ok=True)

    assert drain(machine.open()) == [(outbox.stream, [1, 2, 3])]


def test_the_oldest_number_is_the_smallest_that_waits_or_else_the_next(machine: OutboxMachine) -> None:
    outbox = machine.open()
    assert outbox.oldest_seq == 1
    put(outbox, 4)
    assert outbox.oldest_seq == 1
    ack(outbox, 1)
    ack(outbox, 3)
    assert outbox.oldest_seq == 2
    outbox.spill()
    assert outbox.oldest_seq == 2
    ack(outbox, 2, 4)
    assert outbox.oldest_seq == 5


def test_what_waits_on_a_disk_that_cannot_be_read_is_not_declared_lost(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 4)
    outbox.spill()
    put(outbox, 2)
    assert outbox.oldest_seq == 1
    assert outbox._cold.file is not None
    outbox._cold.file._connection.execute("DROP TABLE sample")

    assert outbox.oldest_seq == 1


def test_a_sample_that_is_in_both_stores_is_dropped_once(
    machine: OutboxMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "HOT_MAX_BYTES", 96 << 10)
    outbox = machine.open()
    put(outbox, 20, size=900)
    shutil.copytree(machine.hot.parent, machine.place / "kept")
    outbox.spill()
    machine.kill()
    shutil.copytree(machine.place / "kept", machine.hot.parent, dirs_exist_ok=True)
    again = machine.open()
    put(again, 100, size=900)

    kept = numbers(again)
    assert kept[:20] == list(range(1, 21))
    assert len(kept) + again.dropped == 120


# The bound.


@pytest.mark.parametrize("size", [300, 1400, 4000])
@pytest.mark.parametrize("max_bytes", [1 << 20, 4 << 20])
def test_the_files_on_disk_stay_within_their_bound(machine: OutboxMachine, max_bytes: int, size: int) -> None:
    outbox = machine.open(max_bytes=max_bytes)
    most = 0
    for _ in range(2 * max_bytes // (50 * size)):
        put(outbox, 50, size=size)
        outbox.spill()
        most = max(most, machine.disk_bytes())

    assert outbox.dropped > 0
    assert max_bytes // 8 < most <= max_bytes


def test_the_files_stay_within_their_bound_when_much_comes_to_disk_at_once(machine: OutboxMachine) -> None:
    machine.cold.mkdir()
    outbox = machine.open(max_bytes=1 << 20)
    put(outbox, 700, size=1000)
    assert outbox.dropped == 0
    machine.cold.rmdir()
    outbox.spill()

    assert machine.disk_bytes() <= 1 << 20
    assert outbox.dropped == 700 - count_waiting(outbox) > 0


def test_the_files_stay_within_their_bound_when_an_earlier_boot_left_much(machine: OutboxMachine) -> None:
    machine.cold.mkdir()
    before = machine.open(max_bytes=1 << 20)
    put(before, 700, size=1000)
    machine.reboot()
    machine.cold.rmdir()
    after = machine.open(max_bytes=1 << 20)

    assert machine.disk_bytes() <= 1 << 20
    batch = after.batch(1)
    assert batch is not None
    assert batch.dropped == 700 - count_waiting(after) > 0


def test_the_oldest_are_dropped_first_and_counted(machine: OutboxMachine) -> None:
    outbox = machine.open(max_bytes=1 << 20)
    for _ in range(30):
        put(outbox, 100)
        outbox.spill()
    while outbox.dropped == 0:
        put(outbox, 100, size=1000)
        outbox.spill()
    issued = outbox.next_seq - 1

    assert numbers(outbox, 100_000) == list(range(outbox.dropped + 1, issued + 1))
    assert outbox.oldest_seq == outbox.dropped + 1


def test_the_count_of_dropped_samples_survives_a_kill(machine: OutboxMachine) -> None:
    outbox = machine.open(max_bytes=1 << 20)
    while outbox.dropped == 0:
        put(outbox, 100, size=1000)
        outbox.spill()
    machine.kill()

    assert machine.open().dropped == outbox.dropped


def test_what_was_dropped_in_memory_is_still_known_after_a_reboot(
    machine: OutboxMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "HOT_MAX_BYTES", 96 << 10)
    machine.cold.mkdir()
    before = machine.open()
    put(before, 300, size=1000)
    dropped = before.dropped
    assert dropped > 0
    machine.cold.rmdir()
    machine.reboot()

    batch = machine.open().batch(1)

    assert batch is not None
    assert batch.stream == before.stream
    assert batch.dropped == dropped


# A full or failing disk.


def test_samples_go_on_in_memory_while_the_disk_is_full_and_reach_it_afterwards(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 5)
    outbox.spill()
    fill_disk(outbox)
    for _ in range(100):
        put(outbox, 1, size=2000)
        outbox.spill()
    assert outbox.disk_failures > 0
    assert numbers(outbox) == list(range(1, 106))

    free_disk(outbox)
    outbox.spill()
    machine.kill()
    machine.hot.unlink()

    assert numbers(machine.open()) == list(range(1, 106))


@pytest.fixture
def small_disk(machine: OutboxMachine) -> Iterator[Path]:
    """A file system of 1 MiB for the disk queue."""
    disk = machine.cold.parent
    mount: list[str | Path] = [require_program("mount", "mount"), "-t", "tmpfs", "-o", "size=1m", "none", disk]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("mounting needs root")
    yield disk
    machine.close()
    subprocess.run([require_program("umount", "mount"), disk], check=True)


def test_a_really_full_file_system_stops_nothing_and_loses_nothing(machine: OutboxMachine, small_disk: Path) -> None:
    outbox = machine.open()
    (ballast := small_disk / "ballast").write_bytes(b"x" * (800 << 10))
    for _ in range(80):
        put(outbox, 5, size=500)
        outbox.spill()
        assert numbers(outbox)[0] == 1
    failures = outbox.disk_failures
    assert failures > 0
    ballast.unlink()
    ack(outbox, 1, 300)
    outbox.spill()

    assert outbox.disk_failures == failures
    assert outbox._hot.count() == outbox.dropped == 0
    assert numbers(outbox) == list(range(301, 401))


def test_memory_is_bounded_while_the_disk_fails_and_what_it_costs_is_counted(
    machine: OutboxMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "HOT_MAX_BYTES", 128 << 10)
    machine.cold.mkdir()
    outbox = machine.open()
    put(outbox, 500, size=1000)

    assert machine.hot.stat().st_size <= 192 << 10
    assert numbers(outbox) == list(range(outbox.dropped + 1, 501))
    assert outbox.dropped > 0


def test_a_disk_that_is_not_there_at_the_start_is_used_when_it_comes(machine: OutboxMachine) -> None:
    machine.cold.mkdir()
    outbox = machine.open()
    put(outbox, 3)
    outbox.spill()
    assert outbox.disk_failures > 0
    machine.cold.rmdir()
    outbox.spill()
    machine.kill()
    machine.hot.unlink()

    assert numbers(machine.open()) == [1, 2, 3]


def test_what_an_earlier_boot_left_waits_in_memory_while_the_disk_fails(machine: OutboxMachine) -> None:
    before = machine.open()
    put(before, 3)
    machine.reboot()
    machine.cold.unlink()
    machine.cold.mkdir()
    after = machine.open()
    put(after)
    machine.cold.rmdir()
    after.spill()
    machine.kill()
    machine.hot.unlink()

    assert drain(machine.open()) == [(before.stream, [1, 2, 3]), (after.stream, [1])]


def test_a_failing_disk_is_logged_once_a_minute(machine: OutboxMachine, caplog: pytest.LogCaptureFixture) -> None:
    machine.cold.mkdir()
    outbox = machine.open()
    for _ in range(130):
        put(outbox)
        outbox.spill()
        machine.clock.advance(1)

    assert len([record for record in caplog.records if "disk queue" in record.message]) == 3


def test_a_lock_that_somebody_else_holds_later_is_a_failure_like_any_other(machine: OutboxMachine) -> None:
    machine.cold.mkdir()
    outbox = machine.open()
    put(outbox, 2)
    machine.cold.rmdir()
    other = sqlite3.connect(machine.cold)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("CREATE TABLE theirs (x)")
    outbox.spill()
    assert count_waiting(outbox) == 2
    other.close()
    outbox.spill()

    assert outbox._hot.count() == 0
    assert numbers(outbox) == [1, 2]


# Corruption.


@pytest.mark.parametrize("damage", ["garbage", "truncated", "flipped"])
def test_a_corrupt_disk_queue_is_moved_aside_at_the_start(machine: OutboxMachine, damage: str) -> None:
    outbox = machine.open()
    put(outbox, 500, size=500)
    outbox.close()
    if damage == "garbage":
        machine.cold.write_bytes(os.urandom(50_000))
    elif damage == "truncated":
        with machine.cold.open("r+b") as file:
            file.truncate(machine.cold.stat().st_size // 2)
    else:
        flip(machine.cold)
    damaged = machine.cold.read_bytes()

    again = machine.open()
    put(again)

    assert [path.read_bytes() for path in again.quarantined] == [damaged]
    assert again.quarantined[0].name.startswith("outbox.db.corrupt-")
    again.spill()
    assert numbers(again) == [501]


def test_only_the_newest_corrupt_disk_queues_are_kept(machine: OutboxMachine) -> None:
    moved = []
    for number in range(CORRUPT_KEPT + 2):
        machine.cold.parent.mkdir(exist_ok=True)
        machine.cold.write_bytes(b"no database %d" % number)
        again = machine.open()
        moved += again.quarantined
        again.close()
    (other := machine.cold.with_name("outbox.db.corrupt-mine")).touch()
    moved[-1].with_name(f"{moved[-1].name}-wal").touch()
    moved[-CORRUPT_KEPT].with_name(f"{moved[-CORRUPT_KEPT].name}-wal").touch()
    move_aside(machine.cold, sqlite3.DatabaseError("corrupt"), [])
    kept = {path.name for path in machine.cold.parent.glob("*.corrupt-*")} - {other.name}
    gone = {path.name for path in moved[: 1 - CORRUPT_KEPT]}
    assert len({name.removesuffix("-wal") for name in kept}) == CORRUPT_KEPT
    assert not {name for name in kept if name.removesuffix("-wal") in gone}
    assert moved[-1].read_bytes() == b"no database %d" % (CORRUPT_KEPT + 1)
    assert other.exists()


def test_a_disk_queue_that_turns_out_corrupt_later_is_moved_aside_and_replaced(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 500, size=500)
    outbox.spill()
    outbox.close()
    outbox = machine.open()
    flip(machine.cold)
    drop_cache(outbox._cold.file)

    assert outbox.batch(500) is None
    assert len(outbox.quarantined) == 1
    put(outbox)
    outbox.spill()
    machine.kill()
    machine.hot.unlink()
    assert numbers(machine.open()) == [501]


def test_a_sample_whose_readings_are_damaged_is_dropped_and_the_rest_gets_through(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 6)
    outbox.spill()
    for seq, body in {
        1: "not JSON",
        2: '[{"cpu_percent":920.5},{}]',
        3: "[1]",
        4: b"\xff\xfe".decode("latin1"),
        5: "7",
    }.items():
        damage_readings(outbox, seq, body)

    assert numbers(outbox) == [6]
    assert outbox.dropped == 5
    assert outbox.quarantined == []


def test_readings_that_are_not_even_text_do_not_block_the_queue(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 2)
    outbox.spill()
    damage_readings(outbox, 1, sqlite3.Binary(b"[{},{}]\xff\xfe"), cast=True)

    assert numbers(outbox) == [2]
    assert outbox.dropped == 1


@pytest.mark.parametrize("name", ["not a name", None])
def test_samples_are_never_sent_under_a_stream_that_is_not_theirs(machine: OutboxMachine, name: str | None) -> None:
    before = machine.open()
    put(before, 3)
    machine.reboot()
    after = machine.open()
    assert after._cold.file is not None
    connection = after._cold.file._connection
    if name is None:
        connection.execute("DELETE FROM stream")
    else:
        connection.execute("UPDATE stream SET name = ?", (name,))

    assert after.batch(10) is None
    assert len(after.quarantined) == 1
    put(after)
    assert numbers(after) == [1]


def test_a_corrupt_memory_file_is_moved_aside_and_what_is_on_disk_is_kept(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    outbox.close()
    machine.hot.write_bytes(os.urandom(20_000))

    again = machine.open()
    put(again)

    assert [path.parent for path in again.quarantined] == [machine.hot.parent]
    assert again.stream != outbox.stream
    assert drain(again) == [(outbox.stream, [1, 2, 3]), (again.stream, [1])]


def test_a_memory_file_that_turns_out_corrupt_later_does_not_cost_the_disk_queue(machine: OutboxMachine) -> None:
    outbox = machine.open()
    before = outbox.stream
    put(outbox, 3)
    outbox.spill()
    put(outbox, 500, size=500)
    outbox._hot._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    flip(machine.hot)
    drop_cache(outbox._hot)

    outbox.spill()
    put(outbox)

    assert outbox.disk_failures == 0
    assert [path.parent for path in outbox.quarantined] == [machine.hot.parent]
    assert outbox.stream != before
    drained = drain(outbox)
    assert drained[0][0] == before
    assert drained[0][1][:3] == [1, 2, 3]
    assert drained[-1] == (outbox.stream, [1])


# Locking, and a missing memory directory.


def test_a_second_outbox_on_the_same_files_is_refused_with_a_sentence(machine: OutboxMachine) -> None:
    machine.open()

    with pytest.raises(SettingsError, match=r"another agent uses .*: stop it, or give this one a data directory"):
        machine.open()


def test_a_second_outbox_is_refused_by_the_memory_file_alone(machine: OutboxMachine, tmp_path: Path) -> None:
    machine.open()

    with pytest.raises(SettingsError, match="another agent uses"):
        Outbox(tmp_path / "other.db", machine.hot, max_bytes=1 << 20, boot=machine.boot, clock=machine.clock)


def test_without_a_place_for_the_memory_file_samples_wait_in_the_process(machine: OutboxMachine) -> None:
    machine.hot.mkdir()
    outbox = machine.open()
    put(outbox, 3)
    assert numbers(outbox) == [1, 2, 3]
    outbox.close()

    again = machine.open()

    assert again.stream != outbox.stream
    assert drain(again) == [(outbox.stream, [1, 2, 3])]


def break_hot(outbox: Outbox) -> None:
    """Make every write to the memory file fail, as on a full tmpfs."""
    outbox._hot._connection.execute("PRAGMA query_only = ON")


def test_a_memory_file_that_fails_costs_no_sample(machine: OutboxMachine) -> None:
    outbox = machine.open()
    before = outbox.stream
    put(outbox, 3)
    break_hot(outbox)
    put(outbox, 2)

    assert outbox.stream != before
    assert drain(outbox) == [(before, [1, 2, 3]), (outbox.stream, [1, 2])]


def test_acks_and_spills_go_on_when_the_memory_file_fails(machine: OutboxMachine) -> None:
    outbox = machine.open()
    before = outbox.stream
    put(outbox, 3)
    break_hot(outbox)
    ack(outbox, 1, stream=before)
    assert drain(outbox) == [(before, [2, 3])]
    put(outbox)
    break_hot(outbox)
    outbox.spill()

    assert numbers(outbox) == [1]


def test_a_memory_file_that_failed_never_makes_a_number_be_used_twice(machine: OutboxMachine) -> None:
    outbox = machine.open()
    issued = [(outbox.stream, sample.seq) for sample in put(outbox, 3)]
    break_hot(outbox)
    issued += [(outbox.stream, sample.seq) for sample in put(outbox, 3)]
    outbox.spill()
    machine.kill()
    again = machine.open()
    issued += [(again.stream, sample.seq) for sample in put(again, 3)]

    assert len(set(issued)) == len(issued)


def test_a_memory_file_that_cannot_be_written_at_the_start_stops_nothing(
    machine: OutboxMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.open()
    put(before, 2)
    before.close()
    opened = SampleFile.open.__func__  # type: ignore[attr-defined]

    def read_only(kind: type[SampleFile], path: Path, *, durable: bool) -> SampleFile:
        store: SampleFile = opened(kind, path, durable=durable)
        if path == machine.hot:
            store._connection.execute("PRAGMA query_only = ON")
        return store

    monkeypatch.setattr(SampleFile, "open", classmethod(read_only))
    after = machine.open()
    put(after)

    assert after.stream != before.stream
    assert drain(after) == [(before.stream, [1, 2]), (after.stream, [1])]


def test_names_are_random_unless_given(tmp_path: Path, clock: Clock) -> None:
    streams = set()
    for i in range(3):
        at = tmp_path / str(i)
        at.mkdir()
        outbox = Outbox(at / "cold.db", at / "hot.db", max_bytes=1 << 20, boot="a", clock=clock)
        streams.add(outbox.stream)
        outbox.close()

    assert len(streams) == 3
    assert all(len(stream) == 16 and int(stream, 16) >= 0 for stream in streams)


# Earlier streams.


def test_an_earlier_stream_is_reported_with_what_waits_of_it(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 10)
    ack(outbox, 1, 4)
    name = outbox.stream
    outbox.close()

    machine.reboot()
    rebooted = machine.open()

    (report,) = rebooted.earlier_streams(10)
    assert (report.stream, report.highest_seq, report.oldest_seq, report.dropped) == (name, 10, 5, 0)
    ack(rebooted, 5, 10, stream=name)
    assert [report.oldest_seq for report in rebooted.earlier_streams(10)] == [None]


def test_the_newest_of_many_earlier_streams_are_reported(machine: OutboxMachine) -> None:
    names = []
    for _ in range(5):
        outbox = machine.open()
        put(outbox)
        names.append(outbox.stream)
        outbox.close()
        machine.reboot()

    reports = machine.open().earlier_streams(3)

    assert [report.stream for report in reports] == names[:1:-1]


def test_the_highest_acknowledged_number_is_of_what_is_stored_and_not_of_what_was_rejected_or_never_sent(
    machine: OutboxMachine,
) -> None:
    outbox = machine.open()
    put(outbox, 5)
    assert outbox.acknowledged_seq == 0
    outbox.reject(outbox.stream, [Range(first=4, last=5)])
    outbox.ack("another", [Range(first=1, last=5)])
    assert outbox.acknowledged_seq == 0
    outbox.ack(outbox.stream, [Range(first=1, last=3)])
    assert outbox.acknowledged_seq == 3
    outbox.ack(outbox.stream, [Range(first=1, last=1000)])
    assert outbox.acknowledged_seq == 5
