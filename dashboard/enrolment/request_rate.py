"""A bound on requests without a session, by client address.

Invariant: memory is bounded; when the table is full, the addresses that have waited longest are forgotten.
"""

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from runtime.clock import Clock

BURST = 600
"""Requests that an address may make at once: 20 machines behind one address, with all files of a bundle."""

PER_SECOND = 10.0
ADDRESSES_MAX = 10_000
_NETWORK_BITS = 64
"""An IPv6 client has a network of its own, and counts as one address."""


class RequestRate:
    """A token bucket for each address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, address: str) -> int:
        """Count a request. Return 0, or the seconds to wait before the next."""
        key, now = _client(address), self._clock.monotonic()
        left, at = self._buckets.pop(key, (float(BURST), now))
        left = min(float(BURST), left + (now - at) * PER_SECOND)
        admitted = left >= 1
        self._buckets[key] = (left - 1 if admitted else left, now)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return 0 if admitted else math.ceil((1 - left) / PER_SECOND)


def _client(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(int(address) >> (128 - _NETWORK_BITS))
    return str(getattr(address, "ipv4_mapped", None) or address)
