"""FileSender: files that the machine sends to the server because an order pulls them, one after the other.

An action waits in its own thread until the server has stored its file (`send`); parts are published and answers handled
by the agent's.

Invariants:
- One part is open, at the pace of `agent.transfer.pace`; the server says where the next one begins, so a transfer
  continues where it was after lost messages and restarts of either side.
- The file is a copy that nothing changes meanwhile, so its hash is that of what is sent.
"""

import base64
import threading
from collections import deque
from pathlib import Path

from agent.transfer.file_fetcher import TransferError
from agent.transfer.pace import PATIENCE_SECONDS, Pace
from runtime.clock import Clock
from schemas.contract.files.transfer import Receipt, Upload


class OutgoingFile:
    """A file that is being sent. `problem` is valid when `done` is set.

    `offset` is where the server continues, None until it has said so. `abandoned` is set by the thread that no longer
    waits for it.
    """

    def __init__(self, path: Path, sha256: str, order: str) -> None:
        self.path, self.sha256, self.order = path, sha256, order
        self.size = path.stat().st_size
        self.offset: int | None = None
        self.open_bytes = 0
        """Bytes of the part that has no answer yet."""
        self.problem = ""
        self.abandoned = False
        self.done = threading.Event()

    def part(self, length: int) -> bytes:
        """Return the payload of the next part, or of the question where it begins. Raises OSError."""
        content = b""
        if self.offset is not None:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(length)
        self.open_bytes = len(content)
        return Upload(
            order=self.order,
            sha256=self.sha256,
            size=self.size,
            offset=self.offset or 0,
            data=base64.b64encode(content).decode(),
        ).encode()


class FileSender:
    """The files that one machine sends."""

    def __init__(self, clock: Clock, *, bytes_per_second: float) -> None:
        self._pace = Pace(clock, bytes_per_second)
        self._waiting: deque[OutgoingFile] = deque()

    def send(self, path: Path, sha256: str, order: str, *, seconds: float) -> None:
        """Return when the server has stored the file for this order. Runs in the thread of an action.

        Raises TransferError, OSError.
        """
        file = OutgoingFile(path, sha256, order)
        self._waiting.append(file)
        if not file.done.wait(seconds):
            file.abandoned = True
            raise TransferError(f"the server has not received the whole file within {seconds:g} s")
        if file.problem:
            raise TransferError(file.problem)

    @property
    def due_at(self) -> float:
        """When `step` has something to do, in seconds of the monotonic clock."""
        return self._pace.due_at if self._waiting else float("inf")

    def connected(self) -> None:
        """Send again what was on its way when the connection ended."""
        self._pace.forget()

    def step(self, *, connected: bool) -> list[bytes]:
        """Return the part to publish, if one is due."""
        file = self._current()
        if file is None or not connected:
            self._pace.wait()
            return []
        if not self._pace.is_due:
            return []
        if self._pace.is_hopeless:
            self._end(file, f"the server has not answered for {PATIENCE_SECONDS:g} s")
            return []
        self._pace.sent()
        try:
            return [file.part(self._pace.length)]
        except OSError as error:
            self._end(file, f"the file cannot be read: {error.strerror}")
            return []

    def handle(self, answer: Receipt) -> None:
        """Take an answer of the server; one about another file is ignored."""
        file = self._current()
        if file is None or (answer.order, answer.sha256) != (file.order, file.sha256):
            return
        if answer.refused:
            self._end(file, answer.detail or answer.refused)
        elif answer.stored:
            self._end(file, "")
        else:
            moved = answer.offset - (file.offset or 0)
            self._pace.answered(file.open_bytes if moved == file.open_bytes else 0)
            file.offset = min(answer.offset, file.size)

    def _current(self) -> OutgoingFile | None:
        while self._waiting and self._waiting[0].abandoned:
            self._waiting.popleft()
            self._pace.forget()
        return self._waiting[0] if self._waiting else None

    def _end(self, file: OutgoingFile, problem: str) -> None:
        """Tell the action that its file is stored, or why it is not."""
        self._waiting.popleft()
        self._pace.forget()
        self._pace.wait()
        file.problem = problem
        file.done.set()
