"""Stands over one command line, as a small process between it and the agent, and ends all of it when its time is over.

On Linux it is the reaper of its descendants (`PR_SET_CHILD_SUBREAPER`): whoever leaves its parent, by a new session or
a double fork, becomes a child of the warden, so that none is out of its sight. Elsewhere it ends the process group.

Standard input: one line of JSON (`argv`, `seconds`, `output_max`), and then nothing; its end means that the agent is
gone, and so must be the command. Standard output: one line of JSON (`end`, `exit_code`, `truncated`, `survivors`,
`error`), then the command's output. Run by its path with `python -I -S`; it imports nothing of ours.

A command that ends by itself in time may leave processes behind, as one that starts a service does.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE_SECONDS = 2.0
"""Between asking the processes to end and ending them."""

END_SECONDS = 10.0
"""What cannot be ended within this is left, and counted."""

_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")


class Command:
    """The command, its output so far, and how it ended."""

    def __init__(self, argv: list[str], output_max: int) -> None:
        self.output = bytearray()
        self.truncated = False
        self.exit_code: int | None = None
        self.error = ""
        self._output_max = output_max
        self.reading, writing = os.pipe()
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(argv, writing, tell)
        os.close(writing)
        os.close(tell)
        self.error = os.read(told, 1000).decode(errors="replace")  # empty as soon as the program runs
        os.close(told)
        os.set_blocking(self.reading, False)

    def read(self) -> bool:
        """Take what it has printed; False when nothing more can come."""
        while True:
            try:
                data = os.read(self.reading, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            room = self._output_max - len(self.output)
            self.truncated = self.truncated or len(data) > room
            self.output += data[: max(0, room)]

    def reap(self) -> bool:
        """Take leave of every child that has ended; whether there are others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.exit_code = os.waitstatus_to_exitcode(status)


def watch(command: Command, seconds: float) -> str:
    """Wait for the end of the command, its time, or the agent, and say which."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    deadline = time.monotonic() + seconds
    waiting = [0, woken, command.reading]
    while True:
        command.reap()
        if command.exit_code is not None:
            command.read()
            return "exited"
        left = deadline - time.monotonic()
        if left <= 0:
            return "timeout"
        ready, _, _ = select.select(waiting, [], [], left)
        if 0 in ready and not os.read(0, 1 << 16):
            return "lost"
        if woken in ready:
            os.read(woken, 1 << 16)
        if command.reading in ready and not command.read():
            waiting.remove(command.reading)


def end(command: Command) -> int:
    """Ask all processes of the command to end, and make those that do not; how many could not be."""
    started = time.monotonic()
    _signal_all(command, signal.SIGTERM)
    while time.monotonic() - started < END_SECONDS:
        command.read()
        if not command.reap() and not _descendants(command):
            return 0
        if time.monotonic() - started > GRACE_SECONDS:
            _signal_all(command, signal.SIGSTOP)  # so that none can make another while it is being ended
            _signal_all(command, signal.SIGKILL)
        time.sleep(0.01)
    return len(_descendants(command))


def _signal_all(command: Command, number: signal.Signals) -> None:
    for pid in _descendants(command):
        with suppress(OSError):
            os.kill(pid, number)
    if not _PROC.is_dir():
        with suppress(OSError):
            os.killpg(command.pid, number)


def _descendants(command: Command) -> list[int]:
    """Every process below this one that has not ended; without /proc the command itself."""
    if not _PROC.is_dir():
        return [] if command.exit_code is not None else [command.pid]
    children: dict[int, list[int]] = {}
    for pid, parent in _living():
        children.setdefault(parent, []).append(pid)
    found, waiting = [], [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _living() -> Iterator[tuple[int, int]]:
    """Each process that is not a zombie, and its parent."""
    for directory in _PROC.iterdir():
        if directory.name.isdigit():
            with suppress(OSError, ValueError):
                status, parent = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                if status not in "ZX":
                    yield int(directory.name), int(parent)


def _become(argv: list[str], output: int, tell: int) -> None:
    """In the child: be the command."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for theirs, ours in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(theirs, ours)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execv(argv[0], argv)  # noqa: S606 - there is no shell, and that is the point
    except (OSError, ValueError) as error:
        os.write(tell, str(error).encode()[:1000])
    os._exit(127)


def _asked() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n") and (data := os.read(0, 1 << 16)):
        line += data
    asked: dict[str, Any] = json.loads(line)
    return asked


def main() -> None:
    """Run what was asked, and answer."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the end of the agent is heard on standard input
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    asked = _asked()
    command = Command(asked["argv"], asked["output_max"])
    ended = "not-started" if command.error else watch(command, asked["seconds"])
    survivors = end(command) if ended in ("timeout", "lost") else 0
    answer = {
        "end": ended,
        "exit_code": command.exit_code,
        "truncated": command.truncated,
        "survivors": survivors,
        "error": command.error,
    }
    with suppress(OSError):  # the agent is gone
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + command.output)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
