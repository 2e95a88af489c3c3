"""A part as a real process that can be killed at any moment and started again."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from servers import stop
from traffic_plugin import recording_environment
from waiting import wait_until


class Process:
    """One process at a time. `ready` is what it writes when it is up; everything it writes goes to `log`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        ready: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.environment = dict(environment or {})
        self.log = log
        self._ready = ready.encode()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> bytes:
        """What it has written since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._started_at)
            return log.read()

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it says that it is ready."""
        with self.log.open("ab") as log:
            self._started_at = log.tell()
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **recording_environment(), **self.environment},
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Fail with its last words when it ends instead."""
        wait_until(lambda: self._ready in self.output or not self.running, seconds=40, what=f"{self.name} ready")
        assert self.running, f"{self.name} ended at once: {self.output[-2000:].decode(errors='replace')}"

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self, *, seconds: float = 10.0) -> None:
        """SIGTERM, and wait until it has ended."""
        process, self._process = self._process, None
        if process is not None:
            stop(process, seconds=seconds)
