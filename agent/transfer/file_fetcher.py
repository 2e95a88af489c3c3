"""FileFetcher: files that the machine fetches from the server, one after the other.

Invariant: a file is handed over only whole and with the expected hash; otherwise it is fetched again, then given up.
"""

import shutil
from pathlib import Path

from agent.transfer.file_queue import FileQueue, QueuedFile
from runtime.clock import Clock
from runtime.partial_file import PartialFile, prune
from schemas.contract.files.transfer import Chunk, Fetch

FREE_BYTES = 64 << 20
"""Space that a file leaves free on the disk."""

_ATTEMPTS = 2


class Download(QueuedFile):
    """A file that is being fetched, of at most `limit` bytes."""

    def __init__(self, part: PartialFile, sha256: str, limit: int) -> None:
        super().__init__()
        self.part = part
        self.sha256 = sha256
        self.limit = limit
        self.attempts = 0


class FileFetcher(FileQueue[Download]):
    """The downloads of one machine. `directory` is created when it is needed."""

    def __init__(self, directory: Path, clock: Clock, *, bytes_per_second: float) -> None:
        super().__init__(clock, bytes_per_second=bytes_per_second)
        self._directory = directory

    def fetch(self, sha256: str, *, limit: int, seconds: float) -> Path:
        """Return the path of the file with this hash once it is here; the caller deletes or moves it.

        Runs in the thread of an action. `limit` is in bytes. Raises TransferError, OSError.
        """
        download = Download(PartialFile(self._directory, sha256), sha256, limit)
        if download.part.path.exists():
            return download.part.path
        prune(self._directory)
        self._wait_for(download, seconds, "the file did not arrive")
        return download.part.path

    def handle(self, chunk: Chunk) -> None:
        """Take a chunk; one that was not requested, or arrives again, is ignored."""
        download = self._current()
        if download is None or chunk.sha256 != download.sha256:
            return
        if chunk.size is None:
            self._end(download, chunk.detail or chunk.refused)
        elif chunk.size > download.limit:
            self._end(download, f"the file has {chunk.size} bytes, more than {download.limit}")
        elif chunk.offset == download.part.size:
            try:
                self._append(download, chunk.content, chunk.size)
            except OSError as error:
                self._end(download, f"the file cannot be written: {error.strerror}")

    def _append(self, download: Download, content: bytes, size: int) -> None:
        if shutil.disk_usage(self._directory).free < size - download.part.size + FREE_BYTES:
            self._end(download, f"there is no space for {size} bytes on the disk of {self._directory}")
            return
        self._pace.answered(len(content))
        download.part.append(content)
        if download.part.size < size:
            return
        if download.part.complete():
            self._end(download, "")
            return
        download.attempts += 1  # what an earlier process left may be damaged
        if download.attempts == _ATTEMPTS:
            self._end(download, "the file does not have the expected SHA-256")

    def _message(self, file: Download, length: int) -> bytes:
        return Fetch(sha256=file.sha256, offset=file.part.size, length=length).encode()
