"""Readings of one metric, aggregated over hours. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class ReadingSummary:
    """Readings of one metric, aggregated over hours."""

    count: int = 0
    total: float = 0.0
    highest: float | None = None

    def add(self, count: int, average: float | None, highest: float | None) -> None:
        """Add an hour."""
        if average is None or highest is None:
            return
        self.count += count
        self.total += count * average
        self.highest = highest if self.highest is None else max(self.highest, highest)

    @property
    def average(self) -> float | None:
        """The average of all readings; None if there are none."""
        return self.total / self.count if self.count else None
