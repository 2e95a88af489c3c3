"""Log lines about rejected messages: one per sender and reason and minute."""

import logging

from ingestor.domain.dead_letter import DeadLetter
from runtime.clock import Clock
from runtime.rate_limited_log import RateLimitedLog
from runtime.terminal import printable

log = logging.getLogger(__name__)


class RejectionLog:
    """Writes the log lines of one ingestor."""

    def __init__(self, clock: Clock) -> None:
        self._log = RateLimitedLog(log, monotonic=clock.monotonic)

    def write(self, letter: DeadLetter) -> None:
        """Log a committed dead letter."""
        sender = letter.topic.rpartition("/")[0]
        shown = map(printable, (letter.topic, letter.reason, letter.detail))
        self._log.warning(f"{sender} {letter.reason}", "rejected a message on %s (%s): %s", *shown)
