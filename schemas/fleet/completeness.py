"""How complete the data of a machine in a time range is. Pure.

Invariants:
- `samples` counts those in the range; `expected`, `stored` and `late` are the machine's ledger, which counts from the
  first sample of each stream: how many of the missing ones belong to the range cannot be known.
- Time during which the server could not listen is counted once, however many incidents tell of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.fleet.availability import Span, merge_spans, overlap
from schemas.fleet.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Completeness:
    """Number of samples, and the seconds of the range during which the server could not listen."""

    samples: int
    expected: int
    stored: int
    late: int
    not_listening_seconds: float

    @classmethod
    def of(cls, samples: int, ledger: Ledger, blind: Iterable[Span], within: Span) -> "Completeness":
        """Return the completeness of a range. `blind`: when the server could not listen."""
        return cls(samples, ledger.expected, ledger.stored, ledger.late, not_listening_seconds(blind, within))


def not_listening_seconds(blind: Iterable[Span], within: Span) -> float:
    """Return the seconds of the range in these spans."""
    return sum(overlap(span, within) for span in merge_spans(blind)) / 1000
