"""Files of machines in both directions: those that they fetch, and those that are pulled from them."""

from broker.client.transport import Transport
from ingestor.files.file_server import FileServer
from ingestor.files.upload_receiver import UploadReceiver
from schemas.contract import topics
from schemas.contract.topics import Address

TOPICS = (topics.FETCH, topics.UPLOAD)


class MachineFiles:
    """Answers what machines publish about files. Without a receiver nothing is taken from them."""

    def __init__(self, server: FileServer, receiver: UploadReceiver | None = None) -> None:
        self._server = server
        self._receiver = receiver

    @property
    def waiting(self) -> bool:
        """Whether a machine waits for an answer, which the rates may permit at any moment."""
        return self._server.waiting or (self._receiver is not None and self._receiver.waiting)

    def handle(self, payload: bytes, address: Address) -> None:
        """Take a message on one of TOPICS. Raises ValidationError."""
        if address.topic is topics.FETCH:
            self._server.handle(payload, address)
        elif self._receiver is not None:
            self._receiver.handle(payload, address)

    def step(self, transport: Transport) -> None:
        """Answer those whose turn it is."""
        self._server.step(transport)
        if self._receiver is not None:
            self._receiver.step(transport)

    def clear(self) -> None:
        """Forget what waits."""
        self._server.clear()
        if self._receiver is not None:
            self._receiver.clear()
