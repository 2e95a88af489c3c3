"""The heartbeats of this ingestor: in its row, and on SQLite in a mapped file, of which the row is a copy now and then.

Invariants:
- A heartbeat follows a COMMIT in which the epoch was checked, also where nothing was to be stored: an ingestor that
  cannot write to the database, or was replaced, is silent. On SQLite such a transaction writes nothing to the disk.
- Without a file, as on PostgreSQL, whose readers may be on other servers, every heartbeat is a row.
"""

import logging
from collections.abc import Mapping

from sqlalchemy import Engine

from ingestor.cluster.leases import Leases
from runtime.clock import Clock
from schemas.database.engine import sqlite_file
from schemas.database.heartbeat_file import HeartbeatFile, heartbeat_path
from schemas.database.queries.heartbeat import HEARTBEAT_SECONDS, ROW_SECONDS

log = logging.getLogger(__name__)

Beat = dict[str, object]
"""Columns of the table `ingestor`."""


class Heartbeats:
    """The heartbeats of the ingestor that has these leases. `counters`: since its start, stored in the row."""

    def __init__(self, engine: Engine, leases: Leases, clock: Clock, counters: Mapping[str, int]) -> None:
        self._path = heartbeat_path(sqlite_file(engine), leases.name) if engine.dialect.name == "sqlite" else None
        self._leases = leases
        self._clock = clock
        self._counters = counters
        self._started_at = clock.now()
        self._file: HeartbeatFile | None = None
        self._due_at = self._row_due_at = clock.monotonic()
        self._row_is_due = False
        self._row: Beat = {}
        self._was_connected = False

    def begin(self) -> None:
        """Raise the epoch of this ingestor's name, and open the file."""
        self._leases.begin(self._clock.now())
        self._close()
        if self._path is not None:
            try:
                self._file = HeartbeatFile(self._path, epoch=self._leases.epoch)
            except OSError as error:
                log.warning("cannot use %s (%s): every heartbeat is written to the database", self._path, error)

    def is_due(self, *, beside: bool) -> bool:
        """Return whether it is time for the next heartbeat; if so, the next one is due HEARTBEAT_SECONDS later.

        `beside`: whether there is something to store anyway. Then the row is written up to half its time earlier, so
        that it needs no transaction of its own.
        """
        now = self._clock.monotonic()
        self._row_is_due = now >= self._row_due_at - (ROW_SECONDS / 2 if beside else 0)
        if now < self._due_at and not self._row_is_due:
            return False
        self._due_at = now + HEARTBEAT_SECONDS
        return True

    def due_row(self, *, connected: bool) -> Beat | None:
        """Return the row that the next transaction has to write; None if the file is sufficient."""
        is_due = self._row_is_due or connected is not self._was_connected or self._file is None
        return self.row(connected=connected) if is_due else None

    def row(self, *, connected: bool) -> Beat:
        """Return the row of a heartbeat now. `connected`: to the broker."""
        self._row = {
            "started_at": self._started_at,
            "beat_at": self._clock.now(),
            "broker_connected": connected,
            "counters": dict(self._counters),
        }
        return self._row

    def committed(self, *, connected: bool) -> None:
        """Show a heartbeat, after the COMMIT of its transaction."""
        if self._row:
            self._row_due_at = self._clock.monotonic() + ROW_SECONDS
            self._was_connected, self._row = connected, {}
        if self._file is not None:
            self._file.beat(self._clock.now(), broker_connected=connected)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
