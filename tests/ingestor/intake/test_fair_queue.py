"""Requests in turns."""

from broker.client.transport import Message
from ingestor.intake.fair_queue import BYTES_EACH_STEP, MESSAGES_EACH_STEP, WAITING_MAX_BYTES, FairQueue
from schemas.contract import topics
from schemas.contract.topics import Address

ADDRESS = Address(topics.REQUEST, "home", principal="ops")


def test_each_has_a_turn_before_anybody_has_a_second() -> None:
    turns = FairQueue()
    for number in range(60):
        assert turns.put(Message("noisy", b"%d" % number), ADDRESS)
    assert turns.put(Message("quiet", b"now"), ADDRESS)
    taken = turns.take()
    assert len(taken) == MESSAGES_EACH_STEP
    assert [message.topic for message, _ in taken[:3]] == ["noisy", "quiet", "noisy"]
    assert [int(message.payload) for message, _ in taken if message.topic == "noisy"] == list(range(49))


def test_a_step_takes_only_so_many_bytes_but_always_something() -> None:
    turns = FairQueue()
    for _ in range(3):
        turns.put(Message("one", bytes(BYTES_EACH_STEP)), ADDRESS)
    assert [len(turns.take()) for _ in range(4)] == [1, 1, 1, 0]
    assert not turns


def test_who_lets_too_much_wait_is_refused_and_nobody_else() -> None:
    turns = FairQueue()
    assert turns.put(Message("noisy", bytes(WAITING_MAX_BYTES)), ADDRESS)
    assert not turns.put(Message("noisy", b"x"), ADDRESS)
    assert turns.put(Message("quiet", b"x"), ADDRESS)
    turns.take()
    assert turns.put(Message("noisy", b"x"), ADDRESS)
