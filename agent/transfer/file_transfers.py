"""The transfers of one machine in both directions, as the agent's own thread serves them."""

from pathlib import Path

from agent.transfer.file_fetcher import FileFetcher
from agent.transfer.file_sender import FileSender
from runtime.clock import Clock
from schemas.contract import topics
from schemas.contract.files.transfer import Chunk, Receipt
from schemas.contract.topics import Topic


class FileTransfers:
    """Fetches files for the machine, and sends those that are pulled. `directory` is created when it is needed."""

    def __init__(self, directory: Path, clock: Clock, *, bytes_per_second: float) -> None:
        self.directory = directory
        self._fetcher = FileFetcher(directory, clock, bytes_per_second=bytes_per_second)
        self._sender = FileSender(clock, bytes_per_second=bytes_per_second)
        self.fetch, self.send = self._fetcher.fetch, self._sender.send

    @property
    def due_at(self) -> float:
        """When `step` has something to do, in seconds of the monotonic clock."""
        return min(self._fetcher.due_at, self._sender.due_at)

    def connected(self) -> None:
        """Send again what was on its way when the connection ended."""
        self._fetcher.connected()
        self._sender.connected()

    def step(self, *, connected: bool) -> list[tuple[Topic, bytes]]:
        """Return the messages to publish, with their topics."""
        return [
            *((topics.FETCH, payload) for payload in self._fetcher.step(connected=connected)),
            *((topics.UPLOAD, payload) for payload in self._sender.step(connected=connected)),
        ]

    def handle(self, topic: Topic, payload: bytes) -> None:
        """Take an answer of the server, on `CHUNK` or `RECEIPT`. Raises ValidationError."""
        if topic is topics.CHUNK:
            self._fetcher.handle(Chunk.decode(payload))
        else:
            self._sender.handle(Receipt.decode(payload))
