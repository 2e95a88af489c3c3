"""Time as a dependency: every component that needs the time takes a `Clock`."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock and monotonic time."""

    def now(self) -> int:
        """Return the time in milliseconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, never moving back."""


class SystemClock:
    """The clock of the operating system."""

    def now(self) -> int:
        """Return the time in milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, never moving back."""
        return time.monotonic()
