"""Evaluation of stored samples: the alerts that they give, and how recorded alerts differ from them.

Invariants:
- Samples come in order of time. The timelines are those of the live evaluation (`schemas.alerts.timeline`).
- A replay that begins in the middle of a history takes the state at its beginning from the recorded alerts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from schemas.alerts.condition import Condition
from schemas.alerts.readings import EarlierSamples, SamplePoint, hold_of, measure
from schemas.alerts.timeline import AlertSpan, Timeline, collect


class RecordedAlert(Protocol):
    """A recorded alert: when its condition began and ended, and the value that began it."""

    started_at: int
    ended_at: int | None
    value: float | None


R = TypeVar("R", bound=RecordedAlert)
Records = Mapping[str, Sequence[RecordedAlert]]
"""Recorded alerts by rule, in the order in which they began."""


class Replay:
    """An evaluation of samples after `start`, by conditions that samples decide. `hold`: see `Timeline`."""

    def __init__(self, conditions: Iterable[Condition], hold: int, *, start: int = 0, records: Records = {}) -> None:  # noqa: B006 - read only
        conditions, self.hold = list(conditions), hold
        self.earlier = EarlierSamples.of(condition.rule for condition in conditions)
        self.timelines: dict[str, Timeline] = {}
        self.spans: dict[str, list[AlertSpan]] = {}
        for condition in conditions:
            name = condition.rule.name
            self.timelines[name] = timeline = seed(condition, hold, records.get(name, ()), start)
            found = [AlertSpan(each.started_at, None, each.value) for each in records.get(name, ())]
            self.spans[name] = [each for each in found if each.started_at == timeline.active_since]

    def remember(self, point: SamplePoint) -> None:
        """Add a sample from before the start, for the rates of the first ones after it."""
        self.earlier.add(point)

    def add(self, point: SamplePoint) -> None:
        """Add the next sample."""
        for name, timeline in self.timelines.items():
            if point.at < timeline.condition.since:
                continue
            found = measure(timeline.condition.rule, point, self.earlier, self.hold)
            if found is not None:
                collect(self.spans[name], timeline.add(max(point.at, timeline.at), found.value, found.device))
        self.earlier.add(point)

    def add_goodbye(self, at: int) -> None:
        """Add the time at which the machine stopped in order: nothing is known after it."""
        for name, timeline in self.timelines.items():
            collect(self.spans[name], timeline.add(max(at, timeline.at), None))

    def agrees(self, at: int, records: Records) -> bool:
        """Return whether the state at this time is the one that follows from the recorded alerts."""
        for name, timeline in self.timelines.items():
            expected = seed(timeline.condition, self.hold, records.get(name, ()), at)
            if (timeline.active_since, timeline.differs_since) != (expected.active_since, expected.differs_since):
                return False
        return True


def seed(condition: Condition, hold: int, records: Sequence[RecordedAlert], at: int) -> Timeline:
    """Return the timeline of a rule at this time, as it follows from the recorded alerts."""
    timeline = Timeline(condition, hold_of(condition.rule, hold), at=at)
    for record in records:
        ended = record.ended_at
        if ended is not None and condition.rule.kind == "changed":
            ended -= condition.clear
        if record.started_at > at or (ended is not None and ended + condition.clear <= at):
            continue
        if record.started_at + condition.for_ <= at:
            timeline.active_since = record.started_at
            timeline.differs_since = ended if ended is not None and ended <= at else None
        else:
            timeline.differs_since, timeline.value = record.started_at, record.value
    return timeline


def pair(records: Sequence[R], spans: Sequence[AlertSpan]) -> list[tuple[R | None, AlertSpan | None]]:
    """Pair each recorded alert with the evaluated one that it overlaps; None: there is no such one."""
    pairs: list[tuple[R | None, AlertSpan | None]] = []
    left = list(records)
    for span in spans:
        match = next((each for each in left if _overlap(each, span)), None)
        if match is not None:
            left.remove(match)
        pairs.append((match, span))
    return pairs + [(record, None) for record in left]


def _overlap(record: RecordedAlert, span: AlertSpan) -> bool:
    return (record.ended_at is None or span.started_at <= record.ended_at) and (
        span.ended_at is None or record.started_at <= span.ended_at
    )
