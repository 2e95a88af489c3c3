"""The heartbeat of an ingestor in memory that the processes of one computer share, beside a SQLite database.

A row that changes every two seconds would be most of what a small installation writes to its disk. The processes that
use a SQLite database are on one computer, as its shared memory requires, so a mapped file tells them the same; the
system writes it to the disk about twice a minute.

Invariants:
- A number of eight bytes is written at once, so that a reader sees a heartbeat as a whole.
- A heartbeat says that its ingestor is connected only with the epoch of the ingestor's row, and nothing if its epoch is
  higher: it is from before the database was restored.
"""

import mmap
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NUMBERS = struct.Struct("@qq")
_EPOCH, _BEAT = 0, 1


@dataclass(frozen=True, slots=True)
class FileBeat:
    """A heartbeat: time in milliseconds of the server's clock, and whether the ingestor is connected to the broker."""

    epoch: int
    at: int
    broker_connected: bool


class HeartbeatFile:
    """The file of one ingestor, to write. Raises OSError if it cannot be created or mapped."""

    def __init__(self, path: Path, *, epoch: int) -> None:
        if not path.exists() or path.stat().st_size < _NUMBERS.size:
            path.write_bytes(bytes(_NUMBERS.size))  # allocated: a mapped hole would need room on the disk later
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _NUMBERS.size)
        self._numbers = memoryview(self._map).cast("q")
        self._epoch = epoch

    def beat(self, at: int, *, broker_connected: bool) -> None:
        """Write a heartbeat."""
        self._numbers[_BEAT] = at << 1 | broker_connected
        self._numbers[_EPOCH] = self._epoch

    def close(self) -> None:
        """Release the memory; the last heartbeat stays in the file."""
        self._numbers.release()
        self._map.close()


def heartbeat_path(database: Path, name: str) -> Path:
    """Return the file of the ingestor of this name that works on a SQLite database."""
    return database.with_name(f"{database.name}-{name}-beat")


def read_heartbeat(path: Path) -> FileBeat | None:
    """Return the last heartbeat in a file, or None if there is none."""
    with suppress(OSError, struct.error):
        epoch, beat = _NUMBERS.unpack(path.read_bytes())
        return FileBeat(epoch, beat >> 1, bool(beat & 1))
    return None
