"""FileFetcher: files that the machine fetches from the server, one after the other.

An action waits for its file in its own thread (`fetch`); requests are published and chunks handled by the agent's.

Invariants:
- One request is open, at the pace of `agent.transfer.pace`. Nothing else depends on the connection.
- A file is handed over only whole and with the expected hash; otherwise it is fetched once more, then given up.
"""

import shutil
import threading
from collections import deque
from pathlib import Path

from agent.transfer.pace import PATIENCE_SECONDS, Pace
from runtime.clock import Clock
from runtime.partial_file import PartialFile, prune
from schemas.contract.files.transfer import Chunk, Fetch

FREE_BYTES = 64 << 20
"""Space that a file leaves free on the disk."""

_ATTEMPTS = 2


class TransferError(Exception):
    """A file could not be transferred; the message is a sentence."""


class Download:
    """A file that is being fetched, of at most `limit` bytes. `problem` is valid when `done` is set.

    `abandoned` is set by the thread that no longer waits for it.
    """

    def __init__(self, part: PartialFile, sha256: str, limit: int) -> None:
        self.part = part
        self.sha256 = sha256
        self.limit = limit
        self.attempts = 0
        self.problem = ""
        self.abandoned = False
        self.done = threading.Event()


class FileFetcher:
    """The downloads of one machine. `directory` is created when it is needed."""

    def __init__(self, directory: Path, clock: Clock, *, bytes_per_second: float) -> None:
        self._directory = directory
        self._waiting: deque[Download] = deque()
        self._pace = Pace(clock, bytes_per_second)

    def fetch(self, sha256: str, *, limit: int, seconds: float) -> Path:
        """Return the path of the file with this hash once it is here; the caller deletes or moves it.

        Runs in the thread of an action. `limit` is in bytes. Raises TransferError, OSError.
        """
        download = Download(PartialFile(self._directory, sha256), sha256, limit)
        if download.part.path.exists():
            return download.part.path
        prune(self._directory)
        self._waiting.append(download)
        if not download.done.wait(seconds):
            download.abandoned = True
            raise TransferError(f"the file did not arrive within {seconds:g} s")
        if download.problem:
            raise TransferError(download.problem)
        return download.part.path

    @property
    def due_at(self) -> float:
        """When `step` has something to do, in seconds of the monotonic clock."""
        return self._pace.due_at if self._waiting else float("inf")

    def connected(self) -> None:
        """Request again what was on its way when the connection ended."""
        self._pace.forget()

    def step(self, *, connected: bool) -> list[bytes]:
        """Return the request to publish, if one is due."""
        download = self._current()
        if download is None or not connected:
            self._pace.wait()
            return []
        if not self._pace.is_due:
            return []
        if self._pace.is_hopeless:
            self._end(download, f"the server has sent nothing for {PATIENCE_SECONDS:g} s")
            return []
        self._pace.sent()
        return [Fetch(sha256=download.sha256, offset=download.part.size, length=self._pace.length).encode()]

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

    def _current(self) -> Download | None:
        while self._waiting and self._waiting[0].abandoned:
            self._waiting.popleft()
            self._pace.forget()
        return self._waiting[0] if self._waiting else None

    def _end(self, download: Download, problem: str) -> None:
        """Hand the current file over, or the reason why it is not here."""
        self._waiting.popleft()
        self._pace.forget()
        self._pace.wait()
        download.problem = problem
        download.done.set()
