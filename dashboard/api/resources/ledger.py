"""GET /machines/{machine}/ledger: what became of a machine's samples, in all and by stream."""

from typing import Any

from sqlalchemy import Row

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.parameters import Parameters
from dashboard.api.problem import not_found
from schemas.database.paged.machine_pages import find_machine_key, list_streams
from schemas.fleet.ledger import Ledger
from schemas.fleet.ranges import Ranges


class LedgerParameters(Parameters):
    """The operation has no parameters."""


class ApiStream(ApiModel):
    """A stream of the machine's outbox. `stored` and `rejected` are ranges of sequence numbers, first and last.

    `highest_seq`, `oldest_seq` and `dropped` are as the machine reported them; `late` were stored from a backfill,
    `duplicate` arrived again after they were stored.
    """

    stream: str
    created_at: int
    highest_seq: int
    oldest_seq: int
    dropped: int
    late: int
    duplicate: int
    stored: tuple[tuple[int, int], ...]
    rejected: tuple[tuple[int, int], ...]


class ApiLedger(ApiModel):
    """Numbers of samples over all streams: expected = stored + waiting + dropped + rejected + lost.

    `late` were stored from a backfill, `duplicate` arrived again, `waiting` are still on the machine, `dropped` were
    deleted there to make room, `rejected` were invalid, `lost` are the rest and should be 0.
    """

    machine: str
    expected: int
    stored: int
    late: int
    duplicate: int
    waiting: int
    dropped: int
    rejected: int
    lost: int
    streams: tuple[ApiStream, ...]


def read(request: ApiRequest, _parameters: LedgerParameters) -> ApiLedger:
    """Return the ledger."""
    name = request.names["machine"]
    key = find_machine_key(request.engine, request.org, name)
    if key is None:
        raise not_found("machine")
    rows = list_streams(request.engine, key)
    total = Ledger()
    for row in rows:
        total.add(row)
    counts = {each: getattr(total, each) for each in Ledger.__slots__}
    return ApiLedger(machine=name, **counts, streams=tuple(map(_stream, rows)))


def _stream(row: Row[Any]) -> ApiStream:
    names = ("created_at", "highest_seq", "oldest_seq", "dropped", "late", "duplicate")
    ranges = {each: tuple(Ranges.parse(getattr(row, each))) for each in ("stored", "rejected")}
    return ApiStream(stream=row.name, **{each: getattr(row, each) for each in names}, **ranges)


OPERATION = Operation(
    id="getLedger",
    path="/machines/{machine}/ledger",
    summary="Get the ledger of a machine's samples",
    parameters=LedgerParameters,
    answer=ApiLedger,
    read=read,
)
