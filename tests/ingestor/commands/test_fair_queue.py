"""Requests in turns."""

from broker.client.transport import Message
from ingestor.commands.fair_queue import BYTES_EACH_STEP, MESSAGES_EACH_STEP, WAITING_MAX_BYTES, Turns


def test_each_has_a_turn_before_anybody_has_a_second() -> None:
    turns = Turns()
    for number in range(60):
        assert turns.put(Message("noisy", b"%d" % number))
    assert turns.put(Message("quiet", b"now"))
    taken = turns.take()
    assert len(taken) == MESSAGES_EACH_STEP
    assert [message.topic for message in taken[:3]] == ["noisy", "quiet", "noisy"]
    assert [int(message.payload) for message in taken if message.topic == "noisy"] == list(range(49))


def test_a_step_takes_only_so_many_bytes_but_always_something() -> None:
    turns = Turns()
    for _ in range(3):
        turns.put(Message("one", bytes(BYTES_EACH_STEP)))
    assert [len(turns.take()) for _ in range(4)] == [1, 1, 1, 0]
    assert not turns


def test_who_lets_too_much_wait_is_refused_and_nobody_else() -> None:
    turns = Turns()
    assert turns.put(Message("noisy", bytes(WAITING_MAX_BYTES)))
    assert not turns.put(Message("noisy", b"x"))
    assert turns.put(Message("quiet", b"x"))
    turns.take()
    assert turns.put(Message("noisy", b"x"))
