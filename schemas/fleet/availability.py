"""For how much of a time a machine was there, from its changes of presence. Pure.

    availability = time online or stale / time counted

Invariants:
- Counted is the time in which the machine was in service and the server could hear: not before it was first heard, not
  after it was retired, not while the server was blind. Where nothing is counted there is no availability, not a zero.
- A machine is away while it is offline or expired. Away and there are all of what is counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_THERE: Final = frozenset(("online", "stale"))
_NOT_COUNTED: Final = frozenset(("unknown", "retired"))
_GOODBYES: Final = frozenset(("stopped", "restarting", "rebooting", "asleep"))

Span = tuple[int, int]
"""From a moment until before another, milliseconds."""


class PresenceChange(NamedTuple):
    """What a machine's presence became, and why."""

    at: int
    presence: str
    reason: str


@dataclass(slots=True)
class Availability:
    """Milliseconds. `announced` is the part of `away` that began with a goodbye: a stop, a reboot, sleep."""

    there: int = 0
    away: int = 0
    announced: int = 0
    longest: int = 0
    times: int = 0

    @property
    def share(self) -> float | None:
        """0..1; None when nothing is counted."""
        counted = self.there + self.away
        return self.there / counted if counted else None


def measure_availability(
    first: str, changes: Sequence[PresenceChange], *, within: Span, blind: Iterable[Span] = ()
) -> Availability:
    """Of a machine that began the time as `first` and then changed, the oldest first."""
    found = Availability()
    deaf = _merged(blind)
    absence, announced = 0, False
    for since, until, change in _stretches(first, changes, within):
        length = until - since - sum(_overlap((since, until), each) for each in deaf)
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
    """From when until when the machine was what, inside of the time."""
    start, end = within
    all_changes = [PresenceChange(start, first, ""), *changes]
    ends = [min(max(change.at, start), end) for change in all_changes[1:]] + [end]
    since = start
    for change, until in zip(all_changes, ends, strict=True):
        if until > since:
            yield since, until, change
            since = until


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _overlap(one: Span, other: Span) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))
