"""The receiver of pulled files: takes the parts that machines send, and tells them how much of the file is here.

Invariants:
- A file is taken only for an order of an operator that pulls it from this machine and is not finished.
- A part is written only if the answer before it invited the machine to send: a machine that does not wait for answers
  costs no more than one that does, and the rate of the answers limits that of the parts.
- A file has its name only when it is whole and has the hash that its first part stated.
- The first bytes stay on disk, so a transfer continues after a restart of either side.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from broker.client.transport import Message, Transport
from ingestor.files.file_rates import FileRates
from ingestor.files.server_files import ServerFiles
from ingestor.files.stored_totals import Total
from ingestor.files.turns import Turns
from ingestor.outbound.messages import message
from runtime.partial_file import PartialFile
from runtime.rate_limited_log import RateLimitedLog
from schemas.contract import topics
from schemas.contract.files.transfer import Receipt, Upload
from schemas.contract.text import TEXT_MAX_LENGTH
from schemas.contract.topics import Address

EACH_STEP = 8
OPEN_MAX = 1000
"""Transfers that are remembered; one that was forgotten is continued from what is on disk."""

ANSWER_BYTES = 4096
"""Bytes that an answer is charged, so that a machine cannot have many for little."""

PRUNE_SECONDS = 3600.0
_ATTEMPTS = 2

IsPulling = Callable[[str, str, str], bool]
"""Returns whether this order (organisation, machine, id) pulls a file and is not finished. May raise DBAPIError."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Transfer:
    order: str
    sha256: str
    size: int
    file: PartialFile
    invited: bool = False
    attempts: int = 0
    stored: bool = False


class UploadReceiver:
    """Takes pulled files, within the limits of `store`."""

    def __init__(self, store: ServerFiles, is_pulling: IsPulling, rates: FileRates) -> None:
        self._store = store
        self._is_pulling = is_pulling
        self._rates = rates
        self._turns = Turns[Receipt | Upload](rates)
        self._open: dict[tuple[str, str], _Transfer] = {}
        self._log = RateLimitedLog(log, monotonic=rates.clock.monotonic)
        self._prune_at = rates.clock.monotonic()

    @property
    def waiting(self) -> bool:
        """Whether an answer waits for its turn."""
        return bool(self._turns)

    def handle(self, payload: bytes, address: Address) -> None:
        """Take a part, or a question. Raises ValidationError."""
        upload = Upload.decode(payload)
        org, machine = address.org, address.machine
        transfer = self._known(org, machine, upload)
        refusal = None
        if transfer is not None and transfer.invited and upload.data and upload.offset == transfer.file.size:
            refusal = self._take(org, machine, transfer, upload.content)
        self._turns.put(org, machine, refusal or upload.model_copy(update={"data": ""}))

    def step(self, transport: Transport) -> None:
        """Answer the machines whose turn it is, and delete what is too old."""
        self._prune()
        if not transport.connected:
            self._turns.clear()
        for _ in range(EACH_STEP):
            if (turn := self._turns.take()) is None:
                return
            org, machine, asked = turn
            answer = asked if isinstance(asked, Receipt) else self._answer(org, machine, asked)
            self._rates.spend(org, machine, ANSWER_BYTES)
            if not transport.publish(_message(org, machine, answer)):
                return

    def clear(self) -> None:
        """Forget the machines that wait, and what is open: it is on disk."""
        self._turns.clear()
        self._open.clear()

    def _known(self, org: str, machine: str, upload: Upload) -> _Transfer | None:
        found = self._open.get((org, machine))
        same = found is not None and (found.order, found.sha256, found.size) == _identity(upload)
        return found if same else None

    def _take(self, org: str, machine: str, transfer: _Transfer, content: bytes) -> Receipt | None:
        """Write a part; return a refusal if it cannot be written."""
        transfer.invited = False
        self._store.changed(org, machine)
        self._rates.spend(org, machine, len(content))
        try:
            transfer.file.append(content)
            return self._complete(org, machine, transfer)
        except OSError as error:
            return self._failed(org, machine, transfer, error)

    def _answer(self, org: str, machine: str, upload: Upload) -> Receipt:
        transfer = self._known(org, machine, upload)
        if transfer is None:
            try:
                found = self._begin(org, machine, upload)
            except OSError as error:
                return _refusal(upload, "error", self._reason(org, machine, error))
            if isinstance(found, Receipt):
                return found
            transfer = found
        transfer.invited = True
        return Receipt(order=transfer.order, sha256=transfer.sha256, offset=transfer.file.size, stored=transfer.stored)

    def _begin(self, org: str, machine: str, upload: Upload) -> "_Transfer | Receipt":
        """Open a file, or return why it is not taken. Raises OSError."""
        self._open.pop((org, machine), None)
        if not self._is_pulling(org, machine, upload.order):
            return _refusal(upload, "unknown", "no order of an operator pulls this file from this machine")
        file = PartialFile(self._store.pulled(org, machine), upload.sha256, upload.order)
        transfer = _Transfer(*_identity(upload), file, stored=file.path.exists())
        if not transfer.stored:
            coming = Total(not file.size, upload.size - file.size).plus(self._expected(org))
            if problem := self._store.refuse(org, machine, upload.size, coming):
                return _refusal(upload, "limit", problem)
            self._store.changed(org, machine)
            if refusal := self._complete(org, machine, transfer):
                return refusal
        self._open[org, machine] = transfer
        if len(self._open) > OPEN_MAX:
            del self._open[next(iter(self._open))]
        return transfer

    def _expected(self, org: str) -> Total:
        """Return what is still to come of the files of an organisation that are on their way."""
        coming = [each for (name, _), each in self._open.items() if name == org and not each.stored]
        return Total(sum(not each.file.size for each in coming), sum(each.size - each.file.size for each in coming))

    def _complete(self, org: str, machine: str, transfer: _Transfer) -> Receipt | None:
        """Give a whole file its name; return a refusal if it has another hash. Raises OSError."""
        if transfer.file.size < transfer.size:
            return None
        if transfer.file.size == transfer.size and transfer.file.complete():
            transfer.stored = True
            log.info("stored a file of %s bytes pulled from %s/%s", transfer.size, org, machine)
            return None
        transfer.attempts += 1  # what an earlier process left may be damaged
        if transfer.attempts < _ATTEMPTS:
            transfer.file.discard()
            return None
        self._open.pop((org, machine), None)
        return _refused(transfer, "error", "the file does not have the stated SHA-256")

    def _failed(self, org: str, machine: str, transfer: _Transfer, error: OSError) -> Receipt:
        self._open.pop((org, machine), None)
        return _refused(transfer, "error", self._reason(org, machine, error))

    def _reason(self, org: str, machine: str, error: OSError) -> str:
        reason = error.strerror or type(error).__name__
        self._log.warning(reason, "cannot store a file of %s/%s: %s", org, machine, reason)
        return f"the server cannot store the file: {reason}"

    def _prune(self) -> None:
        now = self._rates.clock.monotonic()
        if now < self._prune_at:
            return
        self._prune_at = now + PRUNE_SECONDS
        try:
            self._store.prune()
        except OSError as error:
            log.warning("cannot delete old files: %s", error)


def _identity(upload: Upload) -> tuple[str, str, int]:
    return upload.order, upload.sha256, upload.size


def _refusal(upload: Upload, refused: str, detail: str) -> Receipt:
    fields = {"order": upload.order, "sha256": upload.sha256, "refused": refused, "detail": detail[:TEXT_MAX_LENGTH]}
    return Receipt.model_validate(fields)


def _refused(transfer: _Transfer, refused: str, detail: str) -> Receipt:
    fields = {"order": transfer.order, "sha256": transfer.sha256, "refused": refused}
    return Receipt.model_validate({**fields, "detail": detail[:TEXT_MAX_LENGTH]})


def _message(org: str, machine: str, answer: Receipt) -> Message:
    return message(topics.RECEIPT, answer.encode(), org=org, machine=machine)
