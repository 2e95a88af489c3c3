"""Record of the agent's connection, for `dashfleet agent status`, the installation and updates.

Invariants:
- The file is written when the connection begins or ends, and at the first acknowledgement of a sample that this process
  took; not with every sample.
- It is a report: nothing depends on it, and a disk that cannot be written costs only the report.
- Other versions of the agent read it: a field that is added has a default, and an unknown one is ignored.
"""

import json
import logging
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime import files
from runtime.clock import Clock
from runtime.version import VERSION

_FILE = Path("agent", "connection.json")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """State of the connection of a process of the agent, which may have ended since. Times in milliseconds UTC.

    `changed_at`: when the connection began or ended; `acknowledged`: a sample of this process is stored;
    `acknowledged_after_seconds`: time from the beginning of the connection until that, 0 before.
    """

    pid: int
    version: str
    connected: bool
    changed_at: int
    acknowledged: bool
    acknowledged_after_seconds: float = 0.0

    @property
    def is_running(self) -> bool:
        """True if the process exists."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, 0)
            return True
        return Path(f"/proc/{self.pid}").exists()


class ConnectionRecord:
    """The record of this process. `data`: state directory; `first_seq`: number of the first sample it will take."""

    def __init__(self, data: Path, clock: Clock, *, first_seq: int) -> None:
        self._path = data / _FILE
        self._clock = clock
        self._first_seq = first_seq
        self._connected_at = 0.0
        self._written: ConnectionState | None = None

    def update(self, *, connected: bool, acknowledged_seq: int) -> None:
        """Write the file if the state has changed."""
        before = self._written
        acknowledged = acknowledged_seq >= self._first_seq
        if before is not None and (before.connected, before.acknowledged) == (connected, acknowledged):
            return
        changed_at = before.changed_at if before and before.connected == connected else self._clock.now()
        if connected and not (before and before.connected):
            self._connected_at = self._clock.monotonic()
        took = before.acknowledged_after_seconds if before else 0.0
        if acknowledged and not (before and before.acknowledged):
            took = round(self._clock.monotonic() - self._connected_at, 1)
        self._written = ConnectionState(os.getpid(), VERSION, connected, changed_at, acknowledged, took)
        try:
            files.replace(self._path, json.dumps(asdict(self._written)) + "\n")
        except OSError as error:
            log.warning("cannot write %s: %s", self._path, error.strerror)


def read_connection(data: Path) -> ConnectionState | None:
    """Return what the last process of the agent recorded; None if there is no record."""
    return files.read_record(data / _FILE, ConnectionState)
