"""Log lines about what clients do wrong: one per subject and minute, however often it happens.

Invariants:
- A subject (client and reason) is logged at most once per `seconds`; the next line states how many were suppressed.
- Memory is bounded: at most SUBJECTS_MAX subjects are remembered, the oldest are evicted.
"""

import logging
import time
from collections.abc import Callable

SUBJECTS_MAX = 1000


class RateLimitedLog:
    """A logger that repeats no subject within `seconds`."""

    def __init__(
        self, log: logging.Logger, *, seconds: float = 60.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._seconds = seconds
        self._monotonic = monotonic
        self._logged: dict[str, tuple[float, int]] = {}
        """By subject: when it was logged, and how many lines were suppressed since."""

    def warning(self, subject: str, message: str, *values: object) -> None:
        """Log a warning about `subject`, or count it as suppressed."""
        now = self._monotonic()
        at, suppressed = self._logged.pop(subject, (-self._seconds, 0))
        if now - at < self._seconds:
            self._logged[subject] = (at, suppressed + 1)
            return
        if len(self._logged) >= SUBJECTS_MAX:
            del self._logged[next(iter(self._logged))]
        self._logged[subject] = (now, 0)
        if suppressed:
            self._log.warning(f"{message} (and %d more like this)", *values, suppressed)
        else:
            self._log.warning(message, *values)
