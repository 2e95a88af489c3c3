"""The outcome of one probe, and the deadline within which it ends."""

from time import monotonic
from typing import NamedTuple


class ProbeOutcome(NamedTuple):
    """The result of one attempt. `reachable`: None if this machine could not find out.

    `seconds`: time until the answer; `certificate_days`: days until the certificate of the target ends; None where
    there is no such value.
    """

    reachable: bool | None
    text: str
    seconds: float | None = None
    certificate_days: float | None = None


class Deadline:
    """The end of an attempt."""

    def __init__(self, seconds: float) -> None:
        self.began = monotonic()
        self._until = self.began + seconds

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError if there are none."""
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def taken(self) -> float:
        """Return the seconds since the probe began."""
        return monotonic() - self.began
