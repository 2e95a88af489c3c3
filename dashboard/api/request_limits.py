"""Rate limits per token: a token bucket that holds the requests of one minute.

Invariants:
- A request above the limit is rejected before anything is read for it.
- Memory is bounded: only valid tokens have a bucket, and full buckets are evicted.
"""

from dataclasses import dataclass
from typing import Final

from runtime.clock import Clock

MINUTE_SECONDS: Final = 60.0
BUCKETS_MAX: Final = 1000
"""Number of buckets above which full ones are evicted."""


@dataclass(slots=True)
class _Bucket:
    requests: float
    filled_at: float


class RequestLimits:
    """The buckets of all tokens, by the token's key. `per_minute`: requests of one token."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._buckets: dict[int, _Bucket] = {}

    def admit(self, token: int) -> float:
        """Charge a request to a token. Return 0 if it is admitted, else the seconds until one is admitted again."""
        now, rate = self._clock.monotonic(), self._per_minute / MINUTE_SECONDS
        bucket = self._buckets.get(token)
        if bucket is None:
            self._evict(now, rate)
            bucket = self._buckets[token] = _Bucket(self._per_minute, now)
        bucket.requests = self._filled(bucket, now, rate)
        bucket.filled_at = now
        if bucket.requests < 1:
            return (1 - bucket.requests) / rate
        bucket.requests -= 1
        return 0.0

    def _filled(self, bucket: _Bucket, now: float, rate: float) -> float:
        return min(self._per_minute, bucket.requests + max(0.0, now - bucket.filled_at) * rate)

    def _evict(self, now: float, rate: float) -> None:
        """Forget full buckets: a new one is the same."""
        if len(self._buckets) >= BUCKETS_MAX:
            kept = (
                (key, each) for key, each in self._buckets.items() if self._filled(each, now, rate) < self._per_minute
            )
            self._buckets = dict(kept)
