"""An outbox whose machine moves to another server: what waits is numbered anew there, once, and none of it is lost."""

import sqlite3

import pytest
from outboxes import OutboxMachine, ack, count_waiting, drain, numbers, put

from agent.outbox.sample_file import SampleFile


def test_what_waits_gets_numbers_without_gaps_for_another_server(machine: OutboxMachine) -> None:
    outbox = machine.open()
    taken = put(outbox, 9)
    ack(outbox, 1, 3)
    ack(outbox, 6)
    outbox.close()

    moved = machine.open(receiver="new")
    batch = moved.batch(100)

    assert batch is not None
    assert [sample.seq for sample in batch.samples] == [1, 2, 3, 4, 5]
    assert [sample.sampled_at for sample in batch.samples] == [taken[i].sampled_at for i in (3, 4, 6, 7, 8)]
    assert (batch.stream != outbox.stream, batch.oldest_seq, batch.dropped) == (True, 1, 0)
    assert [(each.stream, each.highest_seq) for each in moved.earlier_streams(10)] == [(batch.stream, 5)]


def test_new_samples_begin_a_stream_of_their_own_at_another_server(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 3)
    outbox.close()

    moved = machine.open(receiver="new")

    assert [sample.seq for sample in put(moved, 2)] == [1, 2]
    assert [seqs for _, seqs in drain(moved)] == [[1, 2, 3], [1, 2]]


def test_numbers_stay_after_later_starts_at_the_same_server(machine: OutboxMachine) -> None:
    outbox = machine.open()
    put(outbox, 4)
    outbox.close()
    moved = machine.open(receiver="new")
    put(moved, 3)
    ack(moved, 1)
    before = [(stream, seqs) for stream, seqs in [(moved.stream, [2, 3])]]
    moved.close()

    again = machine.open(receiver="new")

    assert again.stream == moved.stream
    assert drain(again)[1:] == before


def test_several_streams_stay_apart_and_in_their_order(machine: OutboxMachine) -> None:
    for boot in ("1", "2", "3"):
        machine.boot = boot
        outbox = machine.open()
        put(outbox, 3)
        ack(outbox, 2)
        outbox.close()

    moved = drain(machine.open(receiver="new"))

    assert [seqs for _, seqs in moved] == [[1, 2], [1, 2], [1, 2]]
    assert len({stream for stream, _ in moved}) == 3


@pytest.mark.parametrize("receivers", [("new", ""), ("new", "newer", "new")])
def test_each_further_move_numbers_anew(machine: OutboxMachine, receivers: tuple[str, ...]) -> None:
    outbox = machine.open()
    put(outbox, 5)
    ack(outbox, 1, 2)
    names = {outbox.stream}
    outbox.close()
    for receiver in receivers:
        moved = machine.open(receiver=receiver)
        batch = moved.batch(10)
        assert batch is not None
        names.add(batch.stream)
        assert numbers(moved) == [1, 2, 3]
        moved.close()

    assert len(names) == 1 + len(receivers)


def test_a_process_killed_before_it_moved_loses_nothing(machine: OutboxMachine) -> None:
    put(machine.open(), 6)
    machine.kill()

    moved = machine.open(receiver="new")

    assert numbers(moved) == [1, 2, 3, 4, 5, 6]


def test_a_power_cut_in_the_middle_leaves_the_old_numbers_and_the_next_start_the_new_ones(
    machine: OutboxMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = machine.open()
    put(outbox, 6)
    ack(outbox, 1, 2)
    outbox.close()
    with monkeypatch.context() as patch:
        patch.setattr(SampleFile, "renumber", _fails)
        assert numbers(machine.open(receiver="new")) == [3, 4, 5, 6]
        machine.kill()

    moved = machine.open(receiver="new")

    assert numbers(moved) == [1, 2, 3, 4]
    assert count_waiting(moved) == 4


def _fails(*_: object, **__: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")
