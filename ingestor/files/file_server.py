"""The file server: answers the requests of machines for parts of files, after everything else that is to be published.

Invariants:
- Of each machine only the newest request waits, and machines take turns (`ingestor.files.turns`): many that fetch at
  once delay no other for long.
- At most EACH_STEP chunks are sent in a step, within the rates (`ingestor.files.file_rates`), so that a fleet that
  fetches does not delay samples and their acknowledgements.
- Nothing is stored: a request that is lost is sent again.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from broker.client.transport import Message, Transport
from ingestor.files.file_rates import FileRates
from ingestor.files.file_store import FindFile
from ingestor.files.turns import Turns
from ingestor.outbound.messages import message
from runtime.rate_limited_log import RateLimitedLog
from schemas.contract import topics
from schemas.contract.files.transfer import Chunk, Fetch
from schemas.contract.topics import Address

EACH_STEP = 8

log = logging.getLogger(__name__)


class FileServer:
    """Answers requests. `stores` are asked in turn for the file with a hash."""

    def __init__(self, stores: Sequence[FindFile], rates: FileRates) -> None:
        self._stores = stores
        self._rates = rates
        self._turns = Turns[Fetch](rates)
        self._log = RateLimitedLog(log, monotonic=rates.clock.monotonic)

    @property
    def waiting(self) -> bool:
        """Whether a request waits for its turn."""
        return bool(self._turns)

    def handle(self, payload: bytes, address: Address) -> None:
        """Take a request. Raises ValidationError."""
        self._turns.put(address.org, address.machine, Fetch.decode(payload))

    def step(self, transport: Transport) -> None:
        """Answer the requests whose turn it is."""
        if not transport.connected:
            self._turns.clear()
        for _ in range(EACH_STEP):
            if (turn := self._turns.take()) is None:
                return
            org, machine, fetch = turn
            answer = self._answer(org, machine, fetch)
            self._rates.spend(org, machine, len(answer.payload))
            if not transport.publish(answer):
                return

    def clear(self) -> None:
        """Forget the requests that wait."""
        self._turns.clear()

    def _answer(self, org: str, machine: str, fetch: Fetch) -> Message:
        try:
            path = next(filter(None, (find(org, machine, fetch.sha256) for find in self._stores)), None)
            payload = _refusal(fetch, "unknown", "the server has no such file") if path is None else _part(path, fetch)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._log.warning(reason, "cannot read a file for %s/%s: %s", org, machine, reason)
            payload = _refusal(fetch, "error", f"the server cannot read the file: {reason}")
        return message(topics.CHUNK, payload, org=org, machine=machine)


def _part(path: Path, fetch: Fetch) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        offset = file.seek(min(fetch.offset, size))
        return Chunk.encode_part(fetch.sha256, offset, size, file.read(fetch.length))


def _refusal(fetch: Fetch, refused: str, detail: str) -> bytes:
    return Chunk.model_validate({"sha256": fetch.sha256, "refused": refused, "detail": detail}).encode()
