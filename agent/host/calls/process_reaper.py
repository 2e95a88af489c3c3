"""A small process between the agent and one command: it runs the command and ends all its processes after a time limit.

On Linux it is the reaper of its descendants (`PR_SET_CHILD_SUBREAPER`): a process that leaves its parent, by a new
session or a double fork, becomes a child of the reaper, so none escapes. Elsewhere it ends the process group.

Standard input: one line of JSON (`argv`, `seconds`, `output_max`, `may_leave`, `with_errors`), and then nothing; its
end means that the agent is gone, and the command is ended too. Standard output: one line of JSON (`end`, `exit_code`,
`truncated`, `survivors`, `error`), then the command's output, with that to standard error if `with_errors`. Run by its
path with `python -I -S`; it imports no module of DashFleet, and few others, because it is started for every check.

With `may_leave`, a command that ends by itself in time may leave processes behind, such as a service that it starts.
Without it they are killed at once.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress

GRACE_SECONDS = 2.0
"""Time between SIGTERM and SIGKILL."""

END_SECONDS = 10.0
"""Time after which processes that do not end are left, and counted."""

_PR_SET_CHILD_SUBREAPER = 36
_PROC = "/proc"


class CommandProcess:
    """The running command, its output so far, and its exit code."""

    def __init__(self, argv: list[str], output_max: int, *, with_errors: bool) -> None:
        self.output = bytearray()
        self.truncated = False
        self.exit_code: int | None = None
        self.error = ""
        self._output_max = output_max
        self.reading, writing = os.pipe()
        error_reading, error_writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _exec(argv, writing, error_writing, with_errors=with_errors)
        os.close(writing)
        os.close(error_writing)
        self.error = os.read(error_reading, 1000).decode(errors="replace")  # empty once the program runs
        os.close(error_reading)
        os.set_blocking(self.reading, False)

    def read(self) -> bool:
        """Read the available output; return False at its end."""
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
        """Reap every child that has ended; return True if others are running."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.exit_code = os.waitstatus_to_exitcode(status)


def watch(command: CommandProcess, seconds: float) -> str:
    """Wait for the end of the command ("exited"), of its time ("timeout") or of the agent ("lost"); return which."""
    child_ended, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    deadline = time.monotonic() + seconds
    waiting = [0, child_ended, command.reading]
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
        if child_ended in ready:
            os.read(child_ended, 1 << 16)
        if command.reading in ready and not command.read():
            waiting.remove(command.reading)


def end(command: CommandProcess, grace_seconds: float) -> int:
    """Terminate all processes of the command, kill those that remain after a time; return the number of survivors."""
    started = time.monotonic()
    if grace_seconds:
        _signal_all(command, signal.SIGTERM)
    while time.monotonic() - started < END_SECONDS:
        if time.monotonic() - started >= grace_seconds:
            _signal_all(command, signal.SIGSTOP)  # so that none can fork while it is killed
            _signal_all(command, signal.SIGKILL)
        command.read()
        if not command.reap() and not _descendants(command):
            return 0
        time.sleep(0.01)
    return len(_descendants(command))


def _signal_all(command: CommandProcess, number: signal.Signals) -> None:
    for pid in _descendants(command):
        with suppress(OSError):
            os.kill(pid, number)
    if not os.path.isdir(_PROC):
        with suppress(OSError):
            os.killpg(command.pid, number)


def _descendants(command: CommandProcess) -> list[int]:
    """Return the running descendants of this process; without /proc, the command itself."""
    if not os.path.isdir(_PROC):
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


def _living() -> list[tuple[int, int]]:
    """Return the id of each running process and that of its parent."""
    found = []
    for name in os.listdir(_PROC):
        if name.isdigit():
            with suppress(OSError, ValueError), open(f"{_PROC}/{name}/stat", errors="replace") as file:
                status, parent = file.read().rpartition(")")[2].split()[:2]
                if status not in "ZX":
                    found.append((int(name), int(parent)))
    return found


def _exec(argv: list[str], output: int, error: int, *, with_errors: bool) -> None:
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for theirs, ours in ((nothing, 0), (output, 1), (output if with_errors else nothing, 2)):
            os.dup2(theirs, ours)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as problem:
        os.write(error, str(problem).encode()[:1000])
    os._exit(127)


def _read_line() -> bytes:
    line = b""
    while not line.endswith(b"\n") and (data := os.read(0, 1 << 16)):
        line += data
    return line


def main() -> None:
    """Run the requested command and write the answer."""
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
    ):  # the end of standard input tells that the agent is gone
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    request = json.loads(_read_line())
    command = CommandProcess(request["argv"], request["output_max"], with_errors=request["with_errors"])
    ended = "not-started" if command.error else watch(command, request["seconds"])
    survivors = 0
    if ended in ("timeout", "lost"):
        survivors = end(command, GRACE_SECONDS)
    elif ended == "exited" and not request["may_leave"]:
        survivors = end(command, 0.0)
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
