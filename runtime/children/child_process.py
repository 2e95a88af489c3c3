"""A program that runs as a child process, with its output passed on line by line.

Invariants:
- The child has a session of its own: Ctrl-C reaches only this process, which stops its children in order.
- The child's standard input is a pipe that ends with this process, however that ends.
- After `stop` or `close` the child has ended and is reaped, its last lines were passed on, and its pipes are closed.
"""

import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from runtime.children.forked_process import ForkedProcess

_LAST_LINES = 5
_READ_SECONDS = 1.0


class ChildProcess:
    """A run of a program. `on_stderr` and `on_stdout` get lines, each in a thread.

    Without `on_stdout` the child inherits standard output. `forked` is a child that is already there, in place of
    `argv`. Starting raises OSError.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        on_stderr: Callable[[str], None],
        on_stdout: Callable[[str], None] | None = None,
        environment: Mapping[str, str] | None = None,
        forked: ForkedProcess | None = None,
    ) -> None:
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        """The last lines of standard error."""
        self._on_stderr = on_stderr
        self._process = forked or subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=None if on_stdout is None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._readers = [self._read(name, self._process.stderr, self._on_error_line)]
        if on_stdout is not None:
            self._readers.append(self._read(name, self._process.stdout, on_stdout))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._process.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        self._process.send_signal(number)

    def stop(self, seconds: float) -> None:
        """Terminate the process, kill it if it runs longer than `seconds`, and wait until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.close()

    def close(self) -> None:
        """Wait for the last lines of a process that has ended, and close its pipes."""
        self.drain()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def drain(self) -> None:
        """Wait a moment for the last lines of a process that has ended."""
        for reader in self._readers:
            reader.join(_READ_SECONDS)

    def _on_error_line(self, line: str) -> None:
        self.last_lines.append(line)
        self._on_stderr(line)

    @staticmethod
    def _read(name: str, pipe: IO[str] | None, handle: Callable[[str], None]) -> threading.Thread:
        def read() -> None:
            for line in pipe or ():
                handle(line.rstrip("\n"))

        reader = threading.Thread(target=read, name=f"{name}-output", daemon=True)
        reader.start()
        return reader
