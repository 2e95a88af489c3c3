"""A foreign program as a child process, which a run of `dashfleet conform` starts and ends."""

import subprocess
import sys
from collections.abc import Sequence

from runtime.errors import UserError

STOP_SECONDS = 20.0


class ForeignProgram:
    """A command line; its output goes to standard error, as standard output is for the report."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Raises UserError if it cannot be started."""
        try:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), stderr=sys.stderr.fileno()
            )
        except OSError as error:
            raise UserError(f"cannot start {self._argv[0]}: {error.strerror}") from None

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

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
