"""Which samples have series: the first of each detail interval, at a phase that depends on the machine's name.

So the larger samples of a fleet are spread over the interval. The first two samples have series, too: readings that are
differences, such as the load of a core, need two.
"""

import hashlib
import math

from runtime.clock import Clock
from runtime.settings.agent import AgentSettings

LEAD_SECONDS = 2.0
"""A round begins this long before its sample, at most half an interval, so that its readings are there in time."""


class DetailSchedule:
    """Times of rounds, in seconds of the monotonic clock."""

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        digest = hashlib.sha256(f"{settings.org}.{settings.machine}.details".encode()).digest()
        self._phase = int.from_bytes(digest[:4], "big") / 2**32
        self._start = clock.monotonic()
        self._rounds = 0
        self._last_due_at = -math.inf
        self.reconfigure(settings)

    def reconfigure(self, settings: AgentSettings) -> None:
        """Follow other intervals."""
        self._interval = settings.detail_interval_seconds
        self._lead = min(LEAD_SECONDS, settings.interval_seconds / 2)

    def begins_at(self, sample_due_at: float) -> float:
        """Return when the round for the next sample begins, infinite if that sample has no series."""
        if sample_due_at <= self._last_due_at:
            return math.inf
        if self._rounds < 2 or self._index(sample_due_at) > self._index(self._last_due_at):
            return sample_due_at - self._lead
        return math.inf

    def begun(self, sample_due_at: float) -> None:
        """Record that the round for the sample that is due then has begun."""
        self._rounds += 1
        self._last_due_at = sample_due_at

    def _index(self, at: float) -> float:
        return math.floor((at - self._start) / self._interval + self._phase)
