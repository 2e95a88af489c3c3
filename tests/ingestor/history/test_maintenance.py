"""Maintenance runs often enough, and takes little time from ingesting."""

import pytest
from clocks import Clock

from ingestor.history.maintenance import EVERY_SECONDS, SHARE, Maintenance

STEP_SECONDS = 0.02


class Work:
    """A number of steps of work, each of which takes STEP_SECONDS."""

    def __init__(self, clock: Clock, steps: int) -> None:
        self.clock = clock
        self.left = steps
        self.done = 0

    def step(self, _now: int) -> bool:
        self.left -= 1
        self.done += 1
        self.clock.advance(STEP_SECONDS)
        return self.left > 0


def maintenance(clock: Clock, work: Work) -> Maintenance:
    return Maintenance([work], clock)


def test_an_ingestor_under_load_gives_it_its_share_and_no_more(clock: Clock) -> None:
    work = Work(clock, 100_000)
    tended = maintenance(clock, work)
    began = clock.monotonic()
    while clock.monotonic() - began < 60:
        clock.advance(0.005)  # of ingesting
        tended.step(busy=True)
    share = work.done * STEP_SECONDS / (clock.monotonic() - began)
    assert SHARE / 2 <= share <= SHARE


def test_an_ingestor_that_waits_does_all_of_it_at_once(clock: Clock) -> None:
    work = Work(clock, 50)
    tended = maintenance(clock, work)
    for _ in range(50):
        tended.step(busy=False)
    assert work.done == 50


@pytest.mark.parametrize("busy", [True, False])
def test_it_looks_now_and_then_whether_there_is_more(clock: Clock, busy: bool) -> None:
    work = Work(clock, 1)
    tended = maintenance(clock, work)
    for _ in range(10):
        tended.step(busy=busy)
    assert work.done == 1
    clock.advance(EVERY_SECONDS)
    tended.step(busy=busy)
    assert work.done == 2


def test_a_task_without_work_is_not_asked_again_before_the_messages_are_read(clock: Clock) -> None:
    asked: list[int] = []

    class Asleep:
        def step(self, now: int) -> bool:
            asked.append(now)
            return False

    work = Work(clock, 50)
    tended = Maintenance([Asleep(), work], clock)
    calls = 0
    work.clock = Clock()  # its steps take no time
    while work.left > 0:
        tended.step(busy=False)
        calls += 1
    assert work.done == 50
    assert len(asked) == calls < 50
