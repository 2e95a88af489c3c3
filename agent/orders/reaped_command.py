"""Running a command under `agent.orders.process_reaper`: no shell, a time limit, and a bound on the output."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.action import Outcome
from agent.host.calls.child_environment import clean_environment
from agent.orders import process_reaper
from schemas.contract.commands import OUTPUT_MAX


def run_reaped(command: list[str], seconds: float) -> Outcome:
    """Run a command, whose program is an absolute path, to its end; end all its processes at the time limit."""
    answer, output = _reap(command, seconds)
    printed, cut = output.decode("utf-8", "replace"), bool(answer.get("truncated"))
    code = answer.get("exit_code")
    match answer.get("end"):
        case "exited" if code == 0:
            return Outcome("succeeded", exit_code=0, output=printed, output_truncated=cut)
        case "exited":
            return Outcome("failed", "exit-code", f"it ended with exit code {code}", code, printed, cut)
        case "timeout":
            left = answer.get("survivors", 0)
            detail = f"it did not end within {seconds:g} s and was killed"
            detail += f"; {left} of its processes could not be" if left else ""
            return Outcome("failed", "timeout", detail, code, printed, cut)
        case "not-started":
            return Outcome.failed("not-started", f"it could not be started: {answer.get('error')}")
    return Outcome.failed("interrupted", "the process reaper ended")


def _reap(command: list[str], seconds: float) -> tuple[dict[str, Any], bytes]:
    """Return the reaper's answer and the command's output."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(process_reaper.__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=clean_environment(),
    )
    request = json.dumps({"argv": command, "seconds": seconds, "output_max": OUTPUT_MAX}).encode() + b"\n"
    with process:
        if process.stdin is None or process.stdout is None:
            raise OSError("the process reaper has no pipes")
        process.stdin.write(request)
        process.stdin.flush()  # it stays open: its end tells the reaper that the agent is gone
        answer, _, output = process.stdout.read().partition(b"\n")
    return json.loads(answer or b"{}"), output
