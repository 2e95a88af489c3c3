"""A line in the log about what the agent has counted: orders, failed collectors, rejected messages and samples."""

import logging
from collections import Counter
from collections.abc import Callable

from runtime.clock import Clock
from runtime.terminal import printable
from schemas.contract.ack import Rejection

INTERVAL_SECONDS = 3600.0

log = logging.getLogger(__name__)


class ActivityLog:
    """Logs once an hour, and at the end, what was counted since the last line; nothing if that is nothing."""

    def __init__(self, read: Callable[[], Counter[str]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._logged: Counter[str] = Counter()
        self._began_at = clock.monotonic()

    def step(self) -> None:
        """Log if an hour has passed."""
        if self._clock.monotonic() - self._began_at >= INTERVAL_SECONDS:
            self.write()

    def write(self) -> None:
        """Log what was counted since the last line."""
        counts = self._read()
        counted = ", ".join(f"{name}: {number}" for name, number in sorted((counts - self._logged).items()))
        if counted:
            log.info("in the last %.0f min: %s", (self._clock.monotonic() - self._began_at) / 60, counted)
        self._logged, self._began_at = counts, self._clock.monotonic()


def rejection_words(rejection: Rejection) -> list[str]:
    """Return what was rejected, the reason and the detail, for a log line."""
    number = sum(each.last - each.first + 1 for each in rejection.ranges)
    what = f"{number} samples of {rejection.stream}" if number else rejection.topic
    return [printable(each) for each in (what, rejection.reason, rejection.detail)]
