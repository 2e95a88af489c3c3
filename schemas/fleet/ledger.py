"""The ledger of a machine: what became of its samples."""

from dataclasses import dataclass
from typing import Any

from schemas.fleet.ranges import Ranges


@dataclass(slots=True)
class Ledger:
    """Numbers of samples over all streams of a machine: expected = stored + waiting + dropped +
    rejected + lost.

    `late` were stored from a backfill, `duplicate` were received again, `waiting` are still in the agent's outbox,
    `dropped` were deleted there to make room, `rejected` were invalid, `lost` are the rest and should be 0.
    """

    expected: int = 0
    stored: int = 0
    late: int = 0
    duplicate: int = 0
    dropped: int = 0
    waiting: int = 0
    rejected: int = 0
    lost: int = 0

    def add(self, stream: Any) -> None:  # noqa: ANN401 - a row of the table stream
        """Add one stream."""
        ranges, rejected = Ranges.parse(stream.stored), Ranges.parse(stream.rejected)
        missing = stream.highest_seq - len(ranges) - len(rejected)
        waiting = 0
        if stream.oldest_seq <= stream.highest_seq:
            span = stream.highest_seq - stream.oldest_seq + 1
            waiting = span - sum(each.within(stream.oldest_seq, stream.highest_seq) for each in (ranges, rejected))
        dropped = min(stream.dropped, missing - waiting)
        self.expected += stream.highest_seq
        self.stored += len(ranges)
        self.late += stream.late
        self.duplicate += stream.duplicate
        self.dropped += dropped
        self.waiting += waiting
        self.rejected += len(rejected)
        self.lost += missing - waiting - dropped
