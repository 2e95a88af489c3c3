"""Programs on a terminal of their own, which they find at /dev/tty, too."""

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress


def at_terminal(
    argv: Sequence[str], *, typing: Sequence[str], seconds: float = 120.0, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a program and type a line at each of its prompts; return its exit code and its output."""
    ours, theirs = os.openpty()
    words = ["setsid", "--ctty", "--wait", *argv]
    shown, waiting, deadline = "", list(typing), time.monotonic() + seconds
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        with suppress(OSError):  # the program has ended
            while time.monotonic() < deadline:
                if not select.select([ours], [], [], 0.5)[0]:
                    continue
                if not (chunk := os.read(ours, 4096)):
                    break
                shown += chunk.decode(errors="replace")
                if waiting and shown.endswith(": "):
                    os.write(ours, f"{waiting.pop(0)}\n".encode())
        if process.poll() is None and time.monotonic() >= deadline:
            process.kill()
    os.close(ours)
    return process.returncode, shown
