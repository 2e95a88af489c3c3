"""Copies of this process: children that share the memory of what was imported before.

Invariants:
- Nothing of this process reaches a child but its memory, its environment and its standard streams: every other file is
  the null device in the child, and what this process would still do at its end is not done there.
- This process has no other thread when it forks: a lock that one holds would stay locked in the child for ever.
- A child has a session of its own, as a `ChildProcess`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from runtime.children.process_title import set_process_title
from runtime.errors import UserError

_POLL_SECONDS = 0.01
_STREAMS = ("stdin", "stdout", "stderr")


def can_fork() -> bool:
    """Return whether this process can be forked. On macOS the system's libraries do not survive a fork."""
    return sys.platform == "linux" and threading.active_count() == 1


class ForkedProcess:
    """A run of `main` in a child, with the interface of `subprocess.Popen` and pipes for the standard streams.

    The child's exit code is that of SystemExit, 1 after any other exception, and else 0. `title` is shown by `ps`.
    Starting raises OSError.
    """

    def __init__(
        self, main: Callable[[], None], title: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        (stdin, to_child), (from_out, stdout), (from_err, stderr) = os.pipe(), os.pipe(), os.pipe()
        self.pid = _fork(main, (stdin, stdout, stderr), title, environment or {})
        for file in (stdin, stdout, stderr):
            os.close(file)
        self.returncode: int | None = None
        self.stdin: IO[str] | None = os.fdopen(to_child, "w")
        self.stdout: IO[str] | None = os.fdopen(from_out, errors="replace")
        self.stderr: IO[str] | None = os.fdopen(from_err, errors="replace")

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the child runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the child and return its exit code. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("fork", timeout or 0.0)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the child has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the child to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the child at once."""
        self.send_signal(signal.SIGKILL)


class ForkedCall:
    """A function that runs in a child, beside this process, which does not keep what the function needs in memory.

    Where a process cannot be forked, it runs in this process when its result is asked for.
    """

    def __init__(self, function: Callable[[], bool], title: Sequence[str]) -> None:
        self._function = function
        self._pid: int | None = None
        if can_fork():
            self._answers, answers = os.pipe()
            self._pid = _fork(lambda: _answer(function), (None, answers, None), title, {})
            os.close(answers)

    def result(self) -> bool:
        """Wait for the result and return it. Raises the function's UserError; RuntimeError after another exception."""
        if self._pid is None:
            return self._function()
        with os.fdopen(self._answers) as pipe:
            answer = pipe.read()
        os.waitpid(self._pid, 0)
        if not answer:
            raise RuntimeError("a child process failed: see its traceback")
        found = json.loads(answer)
        if isinstance(found, str):
            raise UserError(found)
        return bool(found)


def _answer(function: Callable[[], bool]) -> None:
    try:
        answer: bool | str = function()
    except UserError as error:
        answer = str(error)
    sys.stdout.write(json.dumps(answer))


def _fork(
    main: Callable[[], None], streams: Sequence[int | None], title: Sequence[str], environment: Mapping[str, str]
) -> int:
    """Run `main` in a child and return its process id. `streams` replace the standard streams, except None."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:  # until _exit, nothing may leave this part of the stack: what is above belongs to the parent
            _separate(streams, environment)
            set_process_title(*title)
            main()
            code = 0
        except SystemExit as ended:
            code = _exit_code(ended)
        except BaseException:  # noqa: BLE001 - see above
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def _separate(streams: Sequence[int | None], environment: Mapping[str, str]) -> None:
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for target, file in enumerate(streams):
        if file is not None:
            os.dup2(file, target)
            stream = open(target, "r" if target == 0 else "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - as long as the process
            setattr(sys, _STREAMS[target], stream)
    _replace_files()
    os.environ.update(environment)


def _replace_files() -> None:
    """Replace all files but the standard streams by the null device.

    If they were closed, objects of the parent would later close what is then open under their numbers.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number >= len(_STREAMS) and number != null:
            os.dup2(null, number, inheritable=False)
    os.close(null)


def _exit_code(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    sys.stderr.write(f"{ended.code}\n")
    return 1
