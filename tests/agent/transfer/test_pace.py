"""The pace of a transfer follows the connection."""

import pytest
from clocks import Clock

from agent.transfer.pace import ANSWER_SECONDS, Pace
from schemas.contract.files.transfer import CHUNK_MAX_BYTES


def transfer(pace: Pace, clock: Clock, messages: int, *, bytes_per_second: float, latency: float) -> list[float]:
    """Transfer messages over a link; return how long each took."""
    took = []
    for _ in range(messages):
        length = pace.length
        pace.sent()
        took.append(latency + length / bytes_per_second)
        clock.advance(took[-1])
        pace.answered(length)
    return took


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("bytes_per_second", [10_000, 40_000, 100_000])
@pytest.mark.parametrize("latency", [0.02, 0.3, 0.6])
def test_a_message_takes_about_a_second_on_a_slow_link_whatever_its_latency(
    bytes_per_second: float, latency: float, clock: Clock
) -> None:
    took = transfer(Pace(clock, 1e9), clock, 40, bytes_per_second=bytes_per_second, latency=latency)
    assert all(0.7 <= each <= 1.5 for each in took[-20:])


def test_on_a_fast_link_messages_become_as_large_as_they_may_be(clock: Clock) -> None:
    pace = Pace(clock, 1e9)
    transfer(pace, clock, 4, bytes_per_second=1e7, latency=0.01)
    assert pace.length == CHUNK_MAX_BYTES


def test_messages_become_large_again_after_some_had_no_answer(clock: Clock) -> None:
    pace = Pace(clock, 1e9)
    for _ in range(10):
        pace.sent()
        clock.advance(ANSWER_SECONDS)
    assert pace.length < CHUNK_MAX_BYTES / 16
    transfer(pace, clock, 12, bytes_per_second=1e6, latency=0.6)
    assert pace.length == CHUNK_MAX_BYTES
