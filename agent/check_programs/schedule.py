"""When checks run, and the outcome of each."""

from collections.abc import Callable, Mapping
from functools import partial

from agent.check_programs import formats, process
from agent.check_programs.result import CheckResult
from agent.host.calls.job_schedule import Job, JobSchedule
from runtime.settings.check_program import CheckProgram


class CheckRun:
    """The last outcome of a check: results by service, and how long it took."""

    def __init__(self, results: dict[str, CheckResult], seconds: float | None) -> None:
        self.results = results
        self.seconds = seconds


class CheckSchedule(JobSchedule[CheckRun]):
    """Runs the checks that are due. See `JobSchedule`."""

    def __init__(
        self,
        checks: Mapping[str, CheckProgram],
        monotonic: Callable[[], float],
        *,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        jobs = {
            name: Job(each.interval_seconds or 0.0, partial(_run, each, monotonic)) for name, each in checks.items()
        }
        super().__init__(jobs, monotonic, name="check", start=start)


def outcome_of(check: CheckProgram, ended: process.Ended, seconds: float) -> CheckRun:
    """Return the outcome of a program that has ended; unknown if it did not run to its end."""
    if ended.code is None:
        return CheckRun({"": CheckResult("unknown", ended.problem)}, seconds)
    return CheckRun(formats.parse(check.format, ended.code, ended.output), seconds)


def _run(check: CheckProgram, monotonic: Callable[[], float]) -> CheckRun:
    began = monotonic()
    return outcome_of(check, process.run(check.argv, check.timeout_seconds), monotonic() - began)
