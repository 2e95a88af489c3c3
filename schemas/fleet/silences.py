"""Times and alerts to which a silence applies: pure functions over silences and times.

Invariants:
- Windows are given in local time; everything that is returned is milliseconds UTC. Each end is after its start.
- On the days on which clocks are changed a window covers all of the time that its local times may mean: a start that
  occurs twice is the first, an end that occurs twice the second. A start that does not exist is the moment at which the
  clocks are put forward; an end that does not exist is later by as much as they are.
- An alert is silenced from the beginning of a window (inclusive) to its end (exclusive).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from schemas.contract.alerts import DAYS, Weekly
from schemas.contract.machine_selector import MachineSelector, MachineTraits

Window = tuple[int, int]
"""Start and end, in milliseconds."""

_MINUTE = timedelta(minutes=1)


class SilenceState(StrEnum):
    """State of a silence at a moment."""

    ACTIVE = "active"
    PLANNED = "planned"
    """Applies later; a weekly silence is planned between its windows."""
    PAST = "past"


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence of an organisation's alerts. `rule` is empty for all rules, `ends_at` None for a weekly silence.

    `ended_at`: when it was ended before its time.
    """

    selector: MachineSelector
    starts_at: int
    reason: str = ""
    rule: str = ""
    ends_at: int | None = None
    weekly: Weekly | None = None
    id: int = 0
    created_at: int = 0
    created_by: str = ""
    ended_at: int | None = None
    ended_by: str | None = None

    def covers(self, machine: str, traits: MachineTraits, rule: str) -> bool:
        """Return whether it applies to alerts of this machine and rule while it is active."""
        return self.rule in ("", rule) and self.selector.selects(machine, traits)

    def window(self, at: int) -> Window | None:
        """Return its window at this moment, or else the next one; None if there is none any more."""
        if self.ended_at is not None and self.ended_at <= at:
            return None
        start, end = self.starts_at, self.ends_at or self.starts_at
        if self.weekly is not None:
            start, end = next_window(self.weekly, max(at, self.starts_at))
            start = max(start, self.starts_at)
        end = end if self.ended_at is None else min(end, self.ended_at)
        return (start, end) if at < end and start < end else None

    def state(self, at: int) -> SilenceState:
        """Return its state at this moment."""
        window = self.window(at)
        if window is None:
            return SilenceState.PAST
        return SilenceState.ACTIVE if window[0] <= at else SilenceState.PLANNED


@dataclass(frozen=True, slots=True)
class AppliedSilence:
    """The effect of silences on one alert: until when without a break, and the reason of the one that ends last."""

    until: int
    reason: str


def next_window(weekly: Weekly, at: int) -> Window:
    """Return the window of a schedule at this moment, or else the next one."""
    zone = ZoneInfo(weekly.zone)
    today = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date()
    windows = (_window(weekly, zone, today + timedelta(days=number)) for number in range(-2, 16))
    return next(window for window in windows if window is not None and at < window[1])


def windows(silences: Iterable[Silence], at: int) -> list[tuple[Silence, Window]]:
    """Return the silences that are not past, each with its window at this moment, or else the next one."""
    return [(silence, window) for silence in silences if (window := silence.window(at)) is not None]


def current(windows: Iterable[tuple[Silence, Window]], at: int) -> list[tuple[Silence, Window]]:
    """Return the silences that are active at this moment, and those that follow them without a break, by their start.

    Empty if none is active.
    """
    found: list[tuple[Silence, Window]] = []
    until = at
    for silence, window in sorted(windows, key=lambda each: each[1]):
        if window[0] > until:
            break
        found.append((silence, window))
        until = max(until, window[1])
    return found


def applied(windows: Sequence[tuple[Silence, Window]], at: int) -> AppliedSilence | None:
    """Return the effect of the silences that cover one alert, of those in `current`; None if none is active."""
    until, reason = at, ""
    for silence, (start, end) in windows:
        if start <= until < end:
            until, reason = end, silence.reason
    return AppliedSilence(until, reason) if until > at else None


def _window(weekly: Weekly, zone: ZoneInfo, day: date) -> Window | None:
    """Return the window that begins on this day; None if none does, also because the clocks skip it."""
    if DAYS[day.weekday()] not in weekly.days:
        return None
    start, end = (time.fromisoformat(text) for text in (weekly.start, weekly.end))
    last = day if end > start else day + timedelta(days=1)
    begins, ends = _start(datetime.combine(day, start), zone), _end(datetime.combine(last, end), zone)
    return (_milliseconds(begins), _milliseconds(ends)) if begins < ends else None


def _start(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment at which the clocks show this time, or at which they are put forward beyond it."""
    while not _exists(local, zone):
        local += _MINUTE
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _end(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the last moment at which the clocks show this time; if they never do, as if they had not been changed."""
    fold = 1 if _exists(local, zone) else 0
    return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _exists(local: datetime, zone: ZoneInfo) -> bool:
    return local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
