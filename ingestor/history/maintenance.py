"""Schedules roll-up and pruning between batches, so that they neither starve nor slow down ingesting much.

Invariant: while the ingestor is busy, maintenance gets at most SHARE of the time.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from runtime.clock import Clock

EVERY_SECONDS: Final = 5.0
"""Interval at which tasks that are done are checked for new work: the longest that a roll-up is late."""

SHARE: Final = 0.08
"""A share of the time: one step for each batch would be too slow for the pruning of ten thousand machines."""

STEP_SECONDS: Final = 0.02
"""Messages wait unread for this time and the time of one small step."""


class Task(Protocol):
    """Work that is done in small steps."""

    def step(self, now: int) -> bool:
        """Do one step at this server time in milliseconds; return whether there may be more."""
        ...


class Maintenance:
    """Runs tasks; an earlier one in the sequence goes first while it has more to do."""

    def __init__(self, tasks: Sequence[Task], clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock
        self.more = True
        """Whether the last step left more to do."""
        self._check_at = self._resume_at = clock.monotonic()

    def step(self, *, busy: bool) -> None:
        """Do some steps if it is time. `busy`: messages arrive at a high rate."""
        began = self._clock.monotonic()
        if began < (self._resume_at if busy else 0.0) or not (self.more or began >= self._check_at):
            return
        asleep: list[Task] = []
        self.more = self._step(asleep)
        while self.more and self._clock.monotonic() - began < STEP_SECONDS:
            self.more = self._step(asleep)
        self._check_at = began + EVERY_SECONDS
        self._resume_at = began + (self._clock.monotonic() - began) / SHARE

    def _step(self, asleep: list[Task]) -> bool:
        """Do one step; add tasks that have nothing to do to `asleep`, whose tasks are not asked again."""
        for task in self._tasks:
            if task not in asleep:
                if task.step(self._clock.now()):
                    return True
                asleep.append(task)
        return False
