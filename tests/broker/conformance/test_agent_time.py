"""The time that an agent has had, by which repetitions are judged."""

import pytest
from clocks import Clock

from broker.conformance.agent_time import AgentTime


def test_an_agent_that_publishes_as_often_as_it_says_has_had_all_of_the_time() -> None:
    clock = Clock()
    time = AgentTime(clock)
    for _ in range(12):
        clock.advance(10.0)
        time.heard(10.0)
    assert time.seconds == pytest.approx(120.0)


def test_a_machine_that_stops_everything_for_a_while_gives_an_agent_no_time() -> None:
    clock = Clock()
    time = AgentTime(clock)
    clock.advance(30.0)
    for _ in range(40):  # what waited arrives at once
        time.heard(1.0)
    assert time.seconds == pytest.approx(2.0)
    clock.advance(1.0)
    time.heard(1.0)
    assert time.seconds == pytest.approx(3.0)
