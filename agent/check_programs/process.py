"""Running the program of a check: without a shell, with a time limit and a bound on its output.

Invariants:
- A check never outlives its time limit: its process group is ended, then killed. What remains of the group when the
  program has ended is killed too, so a program that forks and never ends leaves nothing in its group.
- At most OUTPUT_MAX bytes are kept; the rest is read and dropped, so that the program does not block.
- Output behind the end of the program is not waited for.
"""

import os
import select
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple

from agent.host.calls.child_environment import clean_environment

OUTPUT_MAX: Final = 64 << 10
GRACE_SECONDS: Final = 1.0
"""Time between SIGTERM and SIGKILL."""

_LOOK_SECONDS: Final = 0.05


class Ended(NamedTuple):
    """The end of a program. `code` is None if it did not start or exceeded its time limit, as `problem` says."""

    code: int | None
    output: str
    problem: str = ""


def run(argv: Sequence[str], seconds: float) -> Ended:
    """Run a program to its end."""
    environment = {**clean_environment(), "LC_ALL": "C"}  # else numbers and texts depend on the machine
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=environment,
        )
    except (OSError, ValueError) as error:
        return Ended(None, "", f"cannot be started: {error}")
    output, in_time = bytearray(), False
    try:
        in_time = _read_until_end(process, output, monotonic() + seconds)
        if not in_time:
            _signal(process, signal.SIGTERM)
            _read_until_end(process, output, monotonic() + GRACE_SECONDS)
    finally:
        _signal(process, signal.SIGKILL)  # the group exists until the program is reaped, which `wait` does
        code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
    text = output.decode("utf-8", "replace")
    return Ended(code, text) if in_time else Ended(None, text, f"did not end within {seconds:g} s")


def _read_until_end(process: "subprocess.Popen[bytes]", output: bytearray, deadline: float) -> bool:
    """Read the output until the program has ended; return False if it has not by the deadline."""
    pipe = process.stdout.fileno() if process.stdout is not None else -1
    os.set_blocking(pipe, False)
    is_open = True
    while True:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        is_open = is_open and _read(pipe, output)
        if ended:
            return True
        left = deadline - monotonic()
        if left <= 0:
            return False
        select.select([pipe] if is_open else [], [], [], min(left, _LOOK_SECONDS))


def _read(pipe: int, output: bytearray) -> bool:
    """Read what is there, up to a bound in one go; return False at the end of the output."""
    for _ in range(16):
        try:
            data = os.read(pipe, OUTPUT_MAX)
        except BlockingIOError:
            return True
        if not data:
            return False
        output += data[: OUTPUT_MAX - len(output)]
    return True


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(OSError):
        os.killpg(process.pid, number)
