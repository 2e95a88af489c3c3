"""How much one client, and one organisation, may send: so that nobody who is noisy starves the others.

Invariants:
- What is over is dropped before anything of it is read, and never acknowledged: whoever can do without its loss sends
  it again, when there is room.
- A client's own limit comes first, so that what one sends too much costs its organisation nothing.
- A minute's worth may come at once: a healthy machine that was away for a day brings its backlog within it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

MINUTE = 60.0
IDLE_MAX = 100_000
"""Buckets that are kept; beyond, those that are full again are forgotten."""

Key = tuple[str, str]
"""An organisation and, in it, a machine or another principal; empty for the organisation itself."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What may come in a minute, and at once."""

    messages: float
    bytes: float


MACHINE = Rate(3_000, 64 << 20)
ORG = Rate(300_000, 1 << 30)


@dataclass(slots=True)
class _Bucket:
    """What may still come."""

    messages: float
    bytes: float
    filled_at: float

    def take(self, rate: Rate, size: int, now: float) -> bool:
        """Whether there is room for a message of this size; then it is taken."""
        share = max(0.0, now - self.filled_at) / MINUTE
        self.filled_at = now
        self.messages = min(rate.messages, self.messages + rate.messages * share)
        self.bytes = min(rate.bytes, self.bytes + rate.bytes * share)
        if self.messages < 1 or self.bytes < min(size, rate.bytes):
            return False
        self.messages -= 1
        self.bytes -= size
        return True


@dataclass(slots=True)
class Limits:
    """Token buckets. `monotonic`: seconds that never step."""

    monotonic: Callable[[], float]
    machine: Rate = MACHINE
    org: Rate = ORG
    _buckets: dict[Key, _Bucket] = field(default_factory=dict)
    _dropped: Counter[Key] = field(default_factory=Counter)

    def admit(self, org: str, name: str, size: int) -> bool:
        """Whether this message of this client of this organisation is heard."""
        now = self.monotonic()
        for key, rate in (((org, name), self.machine), ((org, ""), self.org)):
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Bucket(rate.messages, rate.bytes, now)
            if not bucket.take(rate, size, now):
                self._dropped[key] += 1
                return False
        return True

    def dropped(self) -> Counter[Key]:
        """How many messages were dropped since the last call, by whose limit it was."""
        found, self._dropped = self._dropped, Counter()
        if len(self._buckets) > IDLE_MAX:
            idle = self.monotonic() - MINUTE
            self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.filled_at > idle}
        return found
