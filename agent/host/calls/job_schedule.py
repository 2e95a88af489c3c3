"""Jobs that are repeated, each in a thread of its own, a few at a time.

Invariants:
- A job never overlaps with itself. One that is still running when it is due is skipped, never queued.
- `step` does not wait for any job.
- A job that raises has no outcome any more: that of an earlier run does not stand for it.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

PARALLEL: Final = 4

T = TypeVar("T")


class Job(NamedTuple, Generic[T]):
    """A job. `run` ends by its own time limit; with an interval of 0 it is due at each step."""

    interval_seconds: float
    run: Callable[[], T]


class JobSchedule(Generic[T]):
    """Runs the jobs that are due. `outcomes`: the last outcome of each; `skipped`: how often one was not started."""

    def __init__(
        self,
        jobs: Mapping[str, Job[T]],
        monotonic: Callable[[], float],
        *,
        name: str,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.outcomes: dict[str, T] = {}
        self.skipped = 0
        self._jobs = dict(jobs)
        self._monotonic = monotonic
        self._name = name
        self._start = start or self._in_thread
        self._due_at: dict[str, float] = {}
        self._running: set[str] = set()
        self._slots = threading.BoundedSemaphore(PARALLEL)
        self._ended = threading.Condition()

    def replace(self, jobs: Mapping[str, Job[T]]) -> None:
        """Follow other jobs: what is known of those that are equal is kept."""
        with self._ended:
            same = {name for name, job in jobs.items() if self._jobs.get(name) == job}
            self.outcomes = {name: outcome for name, outcome in self.outcomes.items() if name in same}
            self._due_at = {name: at for name, at in self._due_at.items() if name in same}
            self._jobs = dict(jobs)

    def step(self, tolerance_seconds: float = 0.0) -> None:
        """Start the jobs that are due, or will be within a tolerance."""
        now = self._monotonic()
        for name, job in self._jobs.items():
            if now + tolerance_seconds < self._due_at.get(name, now):
                continue
            self._due_at[name] = now + job.interval_seconds
            with self._ended:
                if name in self._running:
                    self.skipped += 1
                    continue
                self._running.add(name)
            self._start(lambda name=name, job=job: self._run(name, job))  # type: ignore[misc]

    def wait(self, seconds: float) -> None:
        """Wait until each job has ended once, for some seconds at most."""
        with self._ended:
            self._ended.wait_for(lambda: self.outcomes.keys() >= self._jobs.keys(), seconds)

    def _run(self, name: str, job: Job[T]) -> None:
        try:
            with self._slots:
                outcome = job.run()
            with self._ended:
                if self._jobs.get(name) == job:
                    self.outcomes[name] = outcome
        except BaseException:
            with self._ended:
                self.outcomes.pop(name, None)
            raise
        finally:
            with self._ended:
                self._running.discard(name)
                self._ended.notify_all()

    def _in_thread(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=self._name, daemon=True).start()
