"""A file of which the first bytes are here, in a directory of this process, so that a restart continues it.

    DIRECTORY/SHA256.part    the first bytes
    DIRECTORY/NAME           the whole file, whose hash was compared; its name is the SHA-256 unless another is given

Invariants:
- A file has its name only after its SHA-256 was compared and its bytes are on disk.
- What is left in the directory is bounded: see `prune`.
"""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from runtime import files

KEPT_SECONDS = 7 * 86_400
TOTAL_MAX_BYTES = 512 << 20
_BLOCK_BYTES = 1 << 20


class PartialFile:
    """The bytes of a file that are here. Opening it reads those of an earlier process. Raises OSError."""

    def __init__(self, directory: Path, sha256: str, name: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = directory / (name or sha256)
        self.size = 0
        """Number of bytes that are here."""
        self._sha256 = sha256
        self._part = directory / f"{sha256}.part"
        self._hash = hashlib.sha256()
        with suppress(FileNotFoundError), self._part.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                self._hash.update(block)
                self.size += len(block)

    def append(self, content: bytes) -> None:
        """Add the next bytes. Raises OSError."""
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.truncate(self.size)  # after an append that failed halfway
            file.write(content)
        self._hash.update(content)
        self.size += len(content)

    def complete(self) -> bool:
        """Give the whole file its name; return False, and delete it, if it has another hash. Raises OSError."""
        if self._hash.hexdigest() != self._sha256:
            self.discard()
            return False
        self._part.touch(0o600)  # an empty file has no part
        files.sync(self._part)
        self._part.replace(self.path)
        files.sync(self.path.parent)
        return True

    def discard(self) -> None:
        """Delete the bytes that are here. Raises OSError."""
        self._part.unlink(missing_ok=True)
        self._hash, self.size = hashlib.sha256(), 0


def prune(directory: Path) -> None:
    """Delete what has not changed for KEPT_SECONDS, and the oldest files above TOTAL_MAX_BYTES. Raises OSError."""
    found = sorted(((path.stat(), path) for path in directory.glob("*")), key=lambda each: -each[0].st_mtime)
    total = 0
    for status, path in found:
        total += status.st_size
        if total > TOTAL_MAX_BYTES or status.st_mtime < time.time() - KEPT_SECONDS:
            path.unlink(missing_ok=True)
