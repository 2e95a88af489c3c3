"""The outcome of a command that runs under the process reaper."""

from agent.action import Outcome
from agent.host.calls.reaped_process import run_reaped
from schemas.contract.commands import OUTPUT_MAX


def run_command(command: list[str], seconds: float) -> Outcome:
    """Run a command, whose program is an absolute path, to its end; end all its processes at the time limit.

    A command that ends in time may leave processes behind, such as a service that it starts.
    """
    ended = run_reaped(command, seconds, output_max=OUTPUT_MAX, may_leave=True, with_errors=True)
    code, printed, cut = ended.exit_code, ended.output, ended.truncated
    match ended.end:
        case "exited" if code == 0:
            return Outcome("succeeded", exit_code=0, output=printed, output_truncated=cut)
        case "exited":
            return Outcome("failed", "exit-code", f"it ended with exit code {code}", code, printed, cut)
        case "timeout":
            detail = f"it did not end within {seconds:g} s and was killed"
            detail += f"; {ended.survivors} of its processes could not be" if ended.survivors else ""
            return Outcome("failed", "timeout", detail, code, printed, cut)
        case "not-started":
            return Outcome.failed("not-started", f"it could not be started: {ended.error}")
    return Outcome.failed("interrupted", "the process reaper ended")
