"""When a machine samples: at the points of a grid whose phase depends on the machine's name.

So the samples of a fleet are spread evenly over the interval.
"""

import hashlib
import math

from runtime.clock import Clock
from runtime.settings.agent import AgentSettings

FIRST_SAMPLE_SECONDS = 1.0
"""After the start, so that a new machine is visible at once; the CPU collector needs some time to measure."""

_HELD_SECONDS = 1e9
"""As good as never, but a time that can be calculated with."""


class SampleSchedule:
    """The sampling times of one machine, in seconds of the monotonic clock."""

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        self.due_at = clock.monotonic() + min(FIRST_SAMPLE_SECONDS, settings.interval_seconds)
        """When the next sample is due."""
        self._clock = clock
        self._set_grid(settings)

    def advance(self) -> None:
        """Set the next point of the grid that is at least a quarter of an interval away."""
        self.due_at = self._next_point()

    def hold(self) -> None:
        """Take no more samples in this process."""
        self.due_at = self._clock.monotonic() + _HELD_SECONDS

    def reconfigure(self, settings: AgentSettings) -> None:
        """Follow another interval. The next sample is not later than it was."""
        self._set_grid(settings)
        self.due_at = min(self.due_at, self._next_point())

    def _set_grid(self, settings: AgentSettings) -> None:
        digest = hashlib.sha256(f"{settings.org}.{settings.machine}".encode()).digest()
        phase = int.from_bytes(digest[:4], "big") / 2**32 * min(settings.interval_seconds, 60.0)
        self._interval = settings.interval_seconds
        self._grid = self._clock.monotonic() + phase

    def _next_point(self) -> float:
        intervals = (self._clock.monotonic() - self._grid) / self._interval
        return self._grid + math.ceil(intervals + 0.25) * self._interval
