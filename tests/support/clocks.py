"""A `runtime.clock.Clock` that a test controls."""


class Clock:
    """Wall-clock and monotonic time that change only by `advance` and `set_by`."""

    def __init__(self) -> None:
        self.milliseconds = 1_700_000_000_000
        self._set_by = 0

    def now(self) -> int:
        return self.milliseconds

    def monotonic(self) -> float:
        return (self.milliseconds - self._set_by) / 1000

    def set_by(self, seconds: float) -> None:
        """Set the wall clock forward or back; the monotonic time does not change."""
        self.milliseconds += round(seconds * 1000)
        self._set_by += round(seconds * 1000)

    def advance(self, seconds: float) -> None:
        self.milliseconds += round(seconds * 1000)
