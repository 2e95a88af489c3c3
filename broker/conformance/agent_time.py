"""The time that an agent has had: a machine that is busy stops it, its broker or the run for seconds.

Invariant: an agent that publishes as often as it says has had all of the time.
"""

from runtime.clock import Clock

INTERVALS_MAX = 2.0
PAUSE_SECONDS = 0.5


class AgentTime:
    """Seconds since the start, of which each silence counts for INTERVALS_MAX of its intervals at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard_at = clock.monotonic()
        self.seconds = 0.0

    def heard(self, interval_seconds: float) -> None:
        """Note that something has arrived from the agent, which publishes at this interval."""
        now = self._clock.monotonic()
        self.seconds += min(now - self._heard_at, max(INTERVALS_MAX * interval_seconds, PAUSE_SECONDS))
        self._heard_at = now
