"""Rate limits per client and per organisation, so that a noisy one does not starve the others.

Invariants:
- A message above a limit is dropped before it is decoded, and never acknowledged: what must not be lost is sent again.
- A client's own limit is checked first, so that its excess does not use up its organisation's limit.
- The messages of one minute may come at once: the backlog of a machine that was offline for a day stays below.
"""

from collections import Counter
from dataclasses import dataclass, field

from runtime.clock import Clock

MINUTE = 60.0
IDLE_MAX = 100_000
"""Number of buckets above which full ones are evicted."""

Client = tuple[str, str]
"""An organisation and a machine or other principal of it; the name is empty for the organisation itself."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages and bytes per minute, which may also come at once."""

    messages: float
    bytes: float


MACHINE = Rate(3_000, 64 << 20)
ORG = Rate(300_000, 1 << 30)


@dataclass(slots=True)
class _Bucket:
    messages: float
    bytes: float
    filled_at: float


@dataclass(slots=True)
class RateLimits:
    """Token buckets."""

    clock: Clock
    machine: Rate = MACHINE
    org: Rate = ORG
    _buckets: dict[Client, _Bucket] = field(default_factory=dict)
    _dropped: Counter[Client] = field(default_factory=Counter)

    def admit(self, org: str, name: str, size: int) -> bool:
        """Return whether a message of this client and size is within the limits, and charge it to them."""
        now = self.clock.monotonic()
        for key, rate in (((org, name), self.machine), ((org, ""), self.org)):
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Bucket(rate.messages, rate.bytes, now)
            share = max(0.0, now - bucket.filled_at) / MINUTE
            bucket.filled_at = now
            bucket.messages = min(rate.messages, bucket.messages + rate.messages * share)
            bucket.bytes = min(rate.bytes, bucket.bytes + rate.bytes * share)
            if bucket.messages < 1 or bucket.bytes < min(size, rate.bytes):
                self._dropped[key] += 1
                return False
            bucket.messages -= 1
            bucket.bytes -= size
        return True

    def dropped(self) -> Counter[Client]:
        """Return the number of messages dropped since the last call, by the client whose limit it was."""
        found, self._dropped = self._dropped, Counter()
        if len(self._buckets) > IDLE_MAX:
            idle = self.clock.monotonic() - MINUTE
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.filled_at > idle}
        return found
