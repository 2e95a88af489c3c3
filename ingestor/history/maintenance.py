"""When the ingestor does what can wait (roll up, prune), so that it never starves, and never slows the ingesting much.

Invariant: while the ingestor is busy, it gets at most SHARE of the time.
"""

from collections.abc import Callable
from typing import Final

EVERY_SECONDS: Final = 1.0
"""How often to look whether there is anything to do."""

SHARE: Final = 0.08

STEP_SECONDS: Final = 0.02
"""For so long messages wait unread, and whatever one small step takes."""


class Tending:
    """`tend` does a small step at a time (milliseconds of the server's clock) and returns whether there may be more.

    `monotonic`: seconds that never step.
    """

    def __init__(self, tend: Callable[[int], bool], *, now: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._tend = tend
        self._now = now
        self._monotonic = monotonic
        self.more = True
        """Whether there was more to do than the last step did."""
        self._look_at = self._again_at = monotonic()

    def step(self, *, busy: bool) -> None:
        """Do some steps if it is time. `busy`: much arrives."""
        began = self._monotonic()
        if began < (self._again_at if busy else 0.0) or not (self.more or began >= self._look_at):
            return
        self.more = self._tend(self._now())
        while self.more and self._monotonic() - began < STEP_SECONDS:
            self.more = self._tend(self._now())
        self._look_at = began + EVERY_SECONDS
        self._again_at = began + (self._monotonic() - began) / SHARE
