"""Availability of a machine in a time range, from its presence transitions. Pure.

    availability = time online or stale / time counted

Invariants:
- Time is counted while the machine is in service and the ingestor can listen: not before the machine was first heard,
  not while it is retired, not while the ingestor is blind. Without counted time availability is None, not 0.
- A machine is away while it is offline or expired. Counted time is the sum of time there and time away.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_THERE: Final = frozenset(("online", "stale"))
_NOT_COUNTED: Final = frozenset(("unknown", "retired"))
_GOODBYES: Final = frozenset(("stopped", "restarting", "rebooting", "asleep"))

FLAPPING: Final = "flapping"
"""Reason of a row that stands for all transitions of a machine in an hour above a limit. It has the last of them."""

Span = tuple[int, int]
"""Start (included) and end (excluded), milliseconds."""


class PresenceChange(NamedTuple):
    """A presence transition: time in milliseconds, new presence, reason."""

    at: int
    presence: str
    reason: str


@dataclass(slots=True)
class Availability:
    """Time there and away in milliseconds, the longest absence and the number of absences (`times`).

    `announced` is the time of absences that began with a goodbye: a stop, restart, reboot or sleep.
    """

    there: int = 0
    away: int = 0
    announced: int = 0
    longest: int = 0
    times: int = 0

    @property
    def share(self) -> float | None:
        """Availability, 0 to 1; None without counted time."""
        counted = self.there + self.away
        return self.there / counted if counted else None


def presence_at(start: int, *, last: str | None, following: str | None, presence: str, since_at: int | None) -> str:
    """Return the presence of a machine at the start of a range.

    `last`: the presence after the last change before the start; `following`: that before the first change after it;
    None if there is none. `presence` and `since_at` are the current ones.
    """
    if last is not None:
        return last
    if following is not None:
        return following
    return presence if since_at is not None and since_at <= start else "unknown"


def measure_availability(
    first: str, changes: Sequence[PresenceChange], *, within: Span, blind: Iterable[Span] = ()
) -> Availability:
    """Return the availability of a machine with presence `first` at the start and these changes, oldest first."""
    found = Availability()
    deaf = merge_spans(blind)
    absence, announced = 0, False
    for since, until, change in _stretches(first, changes, within):
        length = until - since - sum(overlap((since, until), each) for each in deaf)
        if change.presence in _THERE or change.presence in _NOT_COUNTED:
            absence = 0
            found.there += length if change.presence in _THERE else 0
            continue
        if not absence:
            announced = change.reason in _GOODBYES
            found.times += 1 if length else 0
        absence += length
        found.away += length
        found.announced += length if announced else 0
        found.longest = max(found.longest, absence)
    return found


def _stretches(
    first: str, changes: Sequence[PresenceChange], within: Span
) -> Iterator[tuple[int, int, PresenceChange]]:
    """Yield (start, end, change) for each presence, clipped to the range."""
    start, end = within
    all_changes = [PresenceChange(start, first, ""), *changes]
    ends = [min(max(change.at, start), end) for change in all_changes[1:]] + [end]
    since = start
    for change, until in zip(all_changes, ends, strict=True):
        if until > since:
            yield since, until, change
            since = until


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as sorted, disjoint spans."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def overlap(one: Span, other: Span) -> int:
    """Return the length of the time that is in both, in milliseconds."""
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))
