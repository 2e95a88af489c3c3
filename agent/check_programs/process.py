"""Running the program of a check: without a shell, with a time limit and a bound on its output.

Invariants:
- A check never outlives its time limit, and leaves nothing when it ends: `agent.host.calls.process_reaper` ends the
  program and all its descendants. On Linux none escapes, whatever session it begins; elsewhere those can that leave the
  process group.
- At most OUTPUT_MAX bytes are kept; the rest is read and dropped, so that the program does not block.
- Output behind the end of the program is not waited for.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from agent.host.calls.reaped_process import run_reaped

OUTPUT_MAX: Final = 64 << 10


class Ended(NamedTuple):
    """The end of a program. `code` is None if it did not start or exceeded its time limit, as `problem` says."""

    code: int | None
    output: str
    problem: str = ""


def run(argv: Sequence[str], seconds: float) -> Ended:
    """Run a program to its end."""
    try:
        ended = run_reaped(
            argv,
            seconds,
            output_max=OUTPUT_MAX,
            may_leave=False,
            with_errors=False,
            environment={"LC_ALL": "C"},  # else numbers and texts depend on the machine
        )
    except OSError as error:
        return Ended(None, "", f"cannot be started: {error}")
    match ended.end:
        case "exited":
            return Ended(ended.exit_code, ended.output)
        case "not-started":
            return Ended(None, "", f"cannot be started: {ended.error}")
        case "timeout":
            left = f"; {ended.survivors} of its processes could not be killed" if ended.survivors else ""
            return Ended(None, ended.output, f"did not end within {seconds:g} s{left}")
    return Ended(None, "", "the process reaper ended")
