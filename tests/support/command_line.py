"""Commands of `dashfleet` as processes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress


def dashfleet(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dashfleet", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment},
    )


def refusal(*arguments: str, **environment: str) -> str:
    """Run a command that fails with one sentence; return it."""
    done = dashfleet(*arguments, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def at_a_terminal(*arguments: str, typing: Sequence[str]) -> tuple[int, str]:
    """Run a command on a terminal and type these lines at its prompts; return its exit code and its output."""
    ours, theirs = os.openpty()
    argv = [sys.executable, "-m", "dashfleet", *arguments]
    shown, waiting = "", list(typing)
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        with suppress(OSError):  # the command has exited
            while chunk := os.read(ours, 1024):
                shown += chunk.decode()
                if waiting and shown.endswith(": "):
                    os.write(ours, f"{waiting.pop(0)}\n".encode())
    os.close(ours)
    return process.returncode, shown
