"""The queue of lists of facts: newest wins, in steps, bounded in bytes, and nothing is lost for good."""

import pytest
from clocks import Clock

from broker.client.transport import Message
from ingestor.intake import fact_queue
from ingestor.intake.fact_queue import EACH_STEP, PACE_SECONDS, REREAD_SECONDS, FactQueue
from schemas.contract import topics


def put(queue: FactQueue, kind: int, payload: bytes = b"{}") -> bool:
    topic = topics.FACTS.at(org="home", machine="attic", kind=f"kind-{kind}")
    address = topics.parse(topic)
    assert address is not None
    return queue.put(Message(topic, payload, 1, retain=True), address)


def taken(queue: FactQueue) -> list[bytes]:
    return [message.payload for message, _ in queue.take()]


def test_a_step_takes_a_bounded_number_and_the_rest_stays(clock: Clock) -> None:
    queue = FactQueue(clock)
    for number in range(EACH_STEP + 7):
        assert put(queue, number)
    assert (len(taken(queue)), bool(queue), len(taken(queue)), bool(queue)) == (EACH_STEP, True, 7, False)


def test_a_list_that_follows_too_soon_waits_and_the_newest_replaces_it(clock: Clock) -> None:
    queue = FactQueue(clock)
    put(queue, 1, b"one")
    assert taken(queue) == [b"one"]
    for payload in (b"two", b"three"):
        put(queue, 1, payload)
    assert (bool(queue), taken(queue)) == (False, [])
    clock.advance(PACE_SECONDS)
    assert (bool(queue), taken(queue)) == (True, [b"three"])


def test_what_does_not_fit_is_dropped_and_requested_again_when_the_queue_is_empty(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fact_queue, "WAITING_MAX_BYTES", 100)
    queue = FactQueue(clock)
    clock.advance(1)
    assert put(queue, 1, b"x" * 80)
    assert put(queue, 1, b"y" * 90)  # in place of the first
    assert not put(queue, 2, b"z" * 20)
    assert not queue.must_reread()
    assert taken(queue) == [b"y" * 90]
    assert (queue.must_reread(), queue.must_reread()) == (True, False)
    assert put(queue, 3, b"x" * 100)
    assert not put(queue, 4, b"x")
    taken(queue)
    assert not queue.must_reread()  # too soon
    clock.advance(REREAD_SECONDS)
    assert queue.must_reread()
