"""FileSender: files that the machine sends to the server because an order pulls them, one after the other.

Invariants:
- The server says where the next part begins, so a transfer continues where it was after lost messages and restarts of
  either side.
- The file is a copy that nothing changes meanwhile, so its hash is that of what is sent.
"""

import base64
from pathlib import Path

from agent.transfer.file_queue import FileQueue, QueuedFile
from schemas.contract.files.transfer import Receipt, Upload


class OutgoingFile(QueuedFile):
    """A file that is being sent. `offset` is where the server continues, None until it has said so."""

    def __init__(self, path: Path, sha256: str, order: str) -> None:
        super().__init__()
        self.path, self.sha256, self.order = path, sha256, order
        self.size = path.stat().st_size
        self.offset: int | None = None
        self.open_bytes = 0
        """Bytes of the part that has no answer yet."""

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


class FileSender(FileQueue[OutgoingFile]):
    """The files that one machine sends."""

    def send(self, path: Path, sha256: str, order: str, *, seconds: float) -> None:
        """Return when the server has stored the file for this order. Runs in the thread of an action.

        Raises TransferError, OSError.
        """
        file = OutgoingFile(path, sha256, order)
        self._wait_for(file, seconds, "the server has not received the whole file")

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

    def _message(self, file: OutgoingFile, length: int) -> bytes:
        return file.part(length)
