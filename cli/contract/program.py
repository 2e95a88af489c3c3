"""A foreign program as a child process, which a run of `dashfleet conform` starts and ends."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from runtime.errors import UserError

STOP_SECONDS = 20.0
OUTPUT_MAX = 1 << 20
"""Bytes of its output that are read."""


class ForeignProgram:
    """A command line. Its output goes to standard error, as standard output is for the report, or is read by the run.

    `environment`: variables in addition to those of this process. `reads`: whether the run reads its output.
    """

    def __init__(
        self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, reads: bool = False
    ) -> None:
        self._argv = list(argv)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._status: int | None = None
        self._output = tempfile.TemporaryFile() if reads else None  # noqa: SIM115 - closed with this object

    def start(self) -> None:
        """Start it. Raises UserError if it cannot be started."""
        self._status, output = None, sys.stderr.fileno()
        if self._output is not None:
            self._output.truncate(0)
            self._output.seek(0)
            output = self._output.fileno()
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=sys.stderr.fileno(),
                env=self._environment,
                start_new_session=self._output is not None,
            )
        except OSError as error:
            raise UserError(f"cannot start {self._argv[0]}: {error.strerror}") from None

    def kill(self) -> None:
        """End it at once (SIGKILL), with its children if the run reads its output."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._output is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        self._status = process.wait()

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and kill it after STOP_SECONDS."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"dashfleet: {self._argv[0]} did not end within {STOP_SECONDS:g} s of SIGTERM\n")
        self.kill()

    def lines(self) -> list[str]:
        """Return the lines that it has printed so far, at most OUTPUT_MAX bytes of them."""
        if self._output is None:
            return []
        return os.pread(self._output.fileno(), OUTPUT_MAX, 0).decode(errors="replace").splitlines()

    def status(self) -> int | None:
        """Return its exit status, None while it runs."""
        return self._status if self._process is None else self._process.poll()
