"""A clock under the test's thumb."""


class Clock:
    """A wall clock in milliseconds and a monotonic one in seconds that move only when told to."""

    def __init__(self) -> None:
        self.milliseconds = 1_700_000_000_000
        self._set_by = 0

    def now(self) -> int:
        return self.milliseconds

    def monotonic(self) -> float:
        return (self.milliseconds - self._set_by) / 1000

    def set_by(self, seconds: float) -> None:
        """Set the wall clock by so much: no time passes."""
        self.milliseconds += round(seconds * 1000)
        self._set_by += round(seconds * 1000)

    def advance(self, seconds: float) -> None:
        self.milliseconds += round(seconds * 1000)
