"""Rate limits per machine (or other client) and per organisation, so that a noisy one does not starve the others.

Their values are settings of the ingestor (`runtime.settings.ingestor`).

Invariants:
- A message above a limit is dropped before it is decoded, and never acknowledged: what must not be lost is sent again.
- A client's own limit is checked first, so that its excess does not use up its organisation's limit.
- Samples are charged when they are stored: a client that has used up its samples may send no more backfills.
- The messages of one minute may come at once: the backlog of a machine that was offline for a day stays below.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

from runtime.clock import Clock

MINUTE_SECONDS = 60.0
IDLE_MAX = 100_000
"""Number of buckets above which full ones are evicted."""

Client = tuple[str, str]
"""An organisation and a machine or other principal of it; the name is empty for the organisation itself."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages, bytes, and samples in backfills per minute, which may also come at once."""

    messages: float
    bytes: float
    samples: float = math.inf


MACHINE = Rate(3_000, 64 << 20, 120_000)
ORG = Rate(300_000, 1 << 30, 3_000_000)


@dataclass(slots=True)
class _Bucket:
    messages: float
    bytes: float
    samples: float
    filled_at: float

    def fill(self, rate: Rate, now: float) -> None:
        """Add what the time since the last call allows. Without `min`, which takes twice as long."""
        share, self.filled_at = (now - self.filled_at) / MINUTE_SECONDS, now
        if share <= 0:
            return
        messages = self.messages + rate.messages * share
        self.messages = messages if messages < rate.messages else rate.messages
        size = self.bytes + rate.bytes * share
        self.bytes = size if size < rate.bytes else rate.bytes
        samples = self.samples + rate.samples * share
        self.samples = samples if samples < rate.samples else rate.samples


@dataclass(slots=True)
class RateLimits:
    """Token buckets."""

    clock: Clock
    machine: Rate = MACHINE
    org: Rate = ORG
    _buckets: dict[Client, _Bucket] = field(default_factory=dict)
    _dropped: Counter[Client] = field(default_factory=Counter)

    def admit(self, org: str, name: str, size: int, now: float | None = None, *, counts_samples: bool = False) -> bool:
        """Return whether a message of this client and size is within the limits, and charge it to them.

        `now`: when it arrived, in seconds of the monotonic clock; None: now.
        `counts_samples`: only if samples are left, too. Their number is charged later (`charge`).
        """
        now = self.clock.monotonic() if now is None else now
        for key, rate in (((org, name), self.machine), ((org, ""), self.org)):
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Bucket(rate.messages, rate.bytes, rate.samples, now)
            elif bucket.filled_at != now:  # messages that were read at once have one time
                bucket.fill(rate, now)
            used_up = bucket.messages < 1 or (bucket.bytes < size and bucket.bytes < rate.bytes)
            if used_up or (counts_samples and bucket.samples <= 0):
                self._dropped[key] += 1
                return False
            bucket.messages -= 1
            bucket.bytes -= size
        return True

    def charge(self, org: str, name: str, samples: int) -> None:
        """Charge samples to a client and its organisation; they may fall below zero, and wait until it is made up."""
        for key in ((org, name), (org, "")):
            if (bucket := self._buckets.get(key)) is not None:
                bucket.samples -= samples

    def drop(self, org: str, name: str) -> None:
        """Count a message of a client that is dropped for another reason."""
        self._dropped[org, name] += 1

    def dropped(self) -> Counter[Client]:
        """Return the number of messages dropped since the last call, by the client whose limit it was."""
        found, self._dropped = self._dropped, Counter()
        if len(self._buckets) > IDLE_MAX:
            idle = self.clock.monotonic() - MINUTE_SECONDS
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.filled_at > idle}
        return found
