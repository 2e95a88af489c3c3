"""DueTasks: what the ingestor does at an interval, between the batches."""

from runtime.clock import Clock


class DueTasks:
    """Tasks by name, each due once in its interval; a task is due at once when it is first asked about."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due_at: dict[str, float] = {}

    def is_due(self, task: str, every_seconds: float) -> bool:
        """Return whether the task is due; it is due again after this number of seconds."""
        now = self._clock.monotonic()
        if now < self._due_at.get(task, 0.0):
            return False
        self._due_at[task] = now + every_seconds
        return True

    def seconds_left(self, other_at: float) -> float:
        """Return the seconds until the first task is due, or until `other_at` of the monotonic clock; never below 0."""
        return max(0.0, min((other_at, *self._due_at.values())) - self._clock.monotonic())
