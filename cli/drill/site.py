"""The test installation of a drill: broker, ingestor and an agent as processes, and simulated machines.

Invariants:
- Everything is in one directory, which the caller removes, and on a port that was free.
- No setting of the environment reaches it: a drill never touches another installation.
- Every process ends with this one, however it ends.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.up.creation import create_missing
from runtime.children.child_process import ChildProcess
from runtime.errors import UserError
from runtime.process import READY, SUPERVISED
from runtime.state_directory import StateDirectory

MACHINE = "real"
"""The id of the machine whose agent is a process with an outbox on the disk."""

PARTS = ("broker", "ingestor", "agent")
READY_SECONDS = 60.0
STOP_SECONDS = 10.0


class DrillSite:
    """The parts of one installation. `interval_seconds`: between two samples of the agent; `seconds`: of a fault."""

    def __init__(self, data: Path, *, interval_seconds: float, seconds: float) -> None:
        for name in [name for name in os.environ if name.startswith("DASHFLEET_")]:
            del os.environ[name]  # also those with the address of a real database
        self.seconds = seconds
        self.state = StateDirectory(data)
        port = _free_port()
        self.server = f"mqtt://127.0.0.1:{port}"
        self._options = {
            "broker": ["--port", str(port)],
            "ingestor": ["--server", self.server],
            "agent": ["--server", self.server, "--machine", MACHINE, "--interval", str(interval_seconds)],
        }
        self._running: dict[str, ChildProcess] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Create the installation and run its parts. Raises UserError if one does not start."""
        create_missing(self.state, self.state.database_url, machine=MACHINE)
        self.state.remember(server=self.server, machine=MACHINE)
        try:
            for part in PARTS:
                self.start(part)
            yield
        finally:
            for part in reversed(PARTS):
                self.stop(part)

    def start(self, part: str) -> None:
        """Start a part and wait until it is ready. Raises UserError if it is not within READY_SECONDS."""
        ready: list[str] = []
        argv = [sys.executable, "-P", "-m", "dashfleet", part, "--data", str(self.state.data), *self._options[part]]
        process = ChildProcess(
            part,
            argv,
            on_stderr=lambda _line: None,  # kept in `last_lines`
            on_stdout=lambda line: ready.append(line) if line.startswith(READY) else None,
            environment={SUPERVISED: "1"},
        )
        self._running[part] = process
        deadline = time.monotonic() + READY_SECONDS
        while not ready:
            if process.exit_code is not None or time.monotonic() > deadline:
                process.drain()
                raise UserError(f"the {part} of the drill did not start: {' '.join(list(process.last_lines)[-1:])}")
            time.sleep(0.02)

    def kill(self, *parts: str) -> None:
        """End parts at once (SIGKILL), all of them before any is waited for."""
        for part in parts:
            self._running[part].send_signal(signal.SIGKILL)
        for part in parts:
            process = self._running.pop(part)
            while process.exit_code is None:
                time.sleep(0.01)
            process.close()

    def stop(self, part: str) -> None:
        """End a part in order, if it runs."""
        process = self._running.pop(part, None)
        if process is not None:
            process.stop(STOP_SECONDS)

    def pid(self, part: str) -> int:
        """Return the process id of a part that runs."""
        return self._running[part].pid

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
