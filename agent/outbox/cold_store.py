"""The cold store of an outbox: waiting samples on disk, kept usable while the disk fails.

Invariants:
- Only the start may refuse. Later no disk error leaves `run`: it is counted, and logged at most once a minute.
- A file that SQLite finds corrupt is moved aside for inspection and replaced by an empty one.
"""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from agent.outbox.sample_file import SampleFile, StreamFigures
from agent.sqlite_file import is_corrupt, is_locked, move_aside
from runtime.clock import Clock
from runtime.errors import SettingsError

_LOG_MILLISECONDS = 60_000

T = TypeVar("T")
log = logging.getLogger(__name__)


class ColdStore:
    """The cold store in a file. Corrupt files that were moved aside are added to `quarantined`.

    Raises SettingsError when another process uses the file.
    """

    def __init__(self, path: Path, *, quarantined: list[Path], clock: Clock) -> None:
        self.failures = 0
        self.file: SampleFile | None = None
        self._path = path
        self._quarantined = quarantined
        self._clock = clock
        self._logged_at: int | None = None
        self._known: dict[int, StreamFigures] = {}
        try:
            self.file = open_or_replace(path, durable=True, quarantined=quarantined)
        except sqlite3.DatabaseError as error:
            refuse_if_locked(error, path)
            self._count(error)

    def run(self, work: Callable[[SampleFile], T], otherwise: T) -> T:
        """Return the result of `work`; `otherwise` when the disk fails."""
        try:
            if self.file is None:
                self.file = open_or_replace(self._path, durable=True, quarantined=self._quarantined)
            return work(self.file)
        except sqlite3.DatabaseError as error:
            self._count(error)
            if self.file is not None and is_corrupt(error):
                self.close()
                self.file = None
                self._known.clear()
                move_aside(self._path, error, self._quarantined)
            return otherwise

    def write(self, work: Callable[[SampleFile], None]) -> bool:
        """Do `work`; return False when the disk failed."""
        failures = self.failures
        self.run(work, None)
        return self.failures == failures

    def figures(self, stream_id: int) -> StreamFigures:
        """Return the figures of a stream on disk, or the last known ones while the disk fails."""
        known = self._known.get(stream_id, StreamFigures(None, 0))
        self._known[stream_id] = self.run(lambda file: file.figures(stream_id), known)
        return self._known[stream_id]

    def close(self) -> None:
        """Close the file and release its lock."""
        if self.file is not None:
            with suppress(sqlite3.Error):
                self.file.close()

    def _count(self, error: sqlite3.DatabaseError) -> None:
        self.failures += 1
        now = self._clock.now()
        if self._logged_at is None or abs(now - self._logged_at) >= _LOG_MILLISECONDS:
            self._logged_at = now
            log.warning("the disk queue failed (%s), failure number %s: samples wait in memory", error, self.failures)


def open_or_replace(path: Path, *, durable: bool, quarantined: list[Path]) -> SampleFile:
    """Open a file of samples; a corrupt one is moved aside and replaced. Raises sqlite3.DatabaseError."""
    try:
        return SampleFile.open(path, durable=durable)
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        move_aside(path, error, quarantined)
        return SampleFile.open(path, durable=durable)


def refuse_if_locked(error: sqlite3.DatabaseError, path: Path) -> None:
    """Raise SettingsError when another process uses the file."""
    if is_locked(error):
        raise SettingsError(
            f"another agent uses {path}: stop it, or give this one a data directory of its own"
        ) from None
