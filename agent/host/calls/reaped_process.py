"""Running a program under the process reaper: no shell, a time limit, and a bound on the output."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.host.calls import process_reaper
from agent.host.calls.child_environment import clean_environment


class ReapedProcess(NamedTuple):
    """The end of a program.

    `end`: `exited`, `timeout`, `not-started` as `error` says, or empty if the reaper itself was ended. `survivors`:
    processes that could not be killed.
    """

    end: str
    exit_code: int | None
    output: str
    truncated: bool
    survivors: int
    error: str


def run_reaped(
    argv: Sequence[str],
    seconds: float,
    *,
    output_max: int,
    may_leave: bool,
    with_errors: bool,
    environment: dict[str, str] | None = None,
) -> ReapedProcess:
    """Run a program, given by an absolute path, to its end; end all its processes at the time limit.

    `output_max`: bytes of output that are kept. `may_leave`: its processes may go on when it has ended in time.
    `with_errors`: the output includes standard error. `environment` is added. Raises OSError if no process can start.
    """
    request = {
        "argv": list(argv),
        "seconds": seconds,
        "output_max": output_max,
        "may_leave": may_leave,
        "with_errors": with_errors,
    }
    answer, output = _reap(json.dumps(request).encode() + b"\n", environment or {})
    return ReapedProcess(
        end=answer.get("end", ""),
        exit_code=answer.get("exit_code"),
        output=output.decode("utf-8", "replace"),
        truncated=bool(answer.get("truncated")),
        survivors=answer.get("survivors", 0),
        error=answer.get("error", ""),
    )


def _reap(request: bytes, environment: dict[str, str]) -> tuple[dict[str, Any], bytes]:
    """Return the reaper's answer and the program's output."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(process_reaper.__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=clean_environment() | environment,
    )
    with process:
        if process.stdin is None or process.stdout is None:
            raise OSError("the process reaper has no pipes")
        process.stdin.write(request)
        process.stdin.flush()  # it stays open: its end tells the reaper that the agent is gone
        answer, _, output = process.stdout.read().partition(b"\n")
    return json.loads(answer or b"{}"), output
