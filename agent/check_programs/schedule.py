"""When checks run: each in a thread of its own, a few at a time.

Invariants:
- A check never overlaps with itself. One that is still running when it is due is skipped, never queued.
- `step` does not wait for any check.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Final

from agent.check_programs import formats, process
from agent.check_programs.result import CheckResult
from runtime.settings.check_program import CheckProgram

PARALLEL: Final = 4


class CheckRun:
    """The last outcome of a check: results by service, and how long it took."""

    def __init__(self, results: dict[str, CheckResult], seconds: float | None) -> None:
        self.results = results
        self.seconds = seconds


class CheckSchedule:
    """Runs the checks that are due. `outcomes`: the last outcome of each; `skipped`: how often it was not started."""

    def __init__(
        self,
        checks: Mapping[str, CheckProgram],
        monotonic: Callable[[], float],
        *,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.outcomes: dict[str, CheckRun] = {}
        self.skipped = 0
        self._checks = checks
        self._monotonic = monotonic
        self._start = start or _in_thread
        self._due_at: dict[str, float] = {}
        self._running: set[str] = set()
        self._slots = threading.BoundedSemaphore(PARALLEL)
        self._ended = threading.Condition()

    def step(self, tolerance_seconds: float = 0.0) -> None:
        """Start the checks that are due, or will be within a tolerance."""
        now = self._monotonic()
        for name, check in self._checks.items():
            if now + tolerance_seconds < self._due_at.get(name, now):
                continue
            self._due_at[name] = now + check.interval_seconds
            with self._ended:
                if name in self._running:
                    self.skipped += 1
                    continue
                self._running.add(name)
            self._start(lambda name=name, check=check: self._run(name, check))  # type: ignore[misc]

    def wait(self, seconds: float) -> None:
        """Wait until each check has ended once, for some seconds at most."""
        with self._ended:
            self._ended.wait_for(lambda: self.outcomes.keys() >= self._checks.keys(), seconds)

    def _run(self, name: str, check: CheckProgram) -> None:
        try:
            with self._slots:
                began = self._monotonic()
                outcome = outcome_of(check, process.run(check.argv, check.timeout_seconds), self._monotonic() - began)
            self.outcomes[name] = outcome
        finally:
            with self._ended:
                self._running.discard(name)
                self._ended.notify_all()


def outcome_of(check: CheckProgram, ended: process.Ended, seconds: float) -> CheckRun:
    """Return the outcome of a program that has ended; unknown if it did not run to its end."""
    if ended.code is None:
        return CheckRun({"": CheckResult("unknown", ended.problem)}, seconds)
    return CheckRun(formats.parse(check.format, ended.code, ended.output), seconds)


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="check", daemon=True).start()
