"""The alerts that a rule would have raised on the stored samples of a period. Nothing is changed, and nobody is told.

Invariants:
- The timelines are those of the live evaluation, on the same samples, in order of time.
- Memory does not grow with the period: a slice of one machine is read at a time. Times without samples cost nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter

from sqlalchemy import Engine

from ingestor.domain.stale_thresholds import stale_after_seconds
from ingestor.storage.alert_store import POINTS_MAX, next_minute, read_goodbyes, read_points
from schemas.alerts.condition import Condition, describe_value, resolve
from schemas.alerts.readings import SamplePoint, has_memory, hold_of
from schemas.alerts.replay import Replay
from schemas.alerts.timeline import AlertSpan, collect
from schemas.contract.alert_rules import AlertRule
from schemas.database.queries.settings import read_settings
from schemas.database.rules.preview import select_by_rule, without_replaced

SLICE = 2 * 3_600_000
_INTERVAL_SECONDS = 10.0
"""Of a machine that has no state yet."""


@dataclass(frozen=True, slots=True)
class PastAlert:
    """An alert that the rule would have raised; `ended_at` is None if it was active at the end of the period."""

    machine: str
    started_at: int
    ended_at: int | None
    detail: str


def evaluate_stored(engine: Engine, org_name: str, rule: AlertRule, *, start: int, end: int) -> Iterator[PastAlert]:
    """Yield the alerts of a rule that samples decide, machine by machine; times in milliseconds, server's clock."""
    config = read_settings(engine, org_name)[0]
    condition = resolve(rule, config.thresholds)
    for row in without_replaced(engine, org_name, rule, select_by_rule(engine, org_name, rule))[0]:
        hold = round(1000 * stale_after_seconds(config, row.interval_seconds or _INTERVAL_SECONDS))
        for span in _spans(engine, row.id, condition, hold, start, end):
            yield PastAlert(row.name, span.started_at, span.ended_at, describe_value(rule, span.value, span.device))


def feed(replay: Replay, points: Iterable[SamplePoint], goodbyes: Iterable[int]) -> None:
    """Add samples and the times at which the machine stopped in order, both in order of time."""
    for at, point in merge([(point.at, point) for point in points], [(at, None) for at in goodbyes], key=itemgetter(0)):
        if point is None:
            replay.add_goodbye(at)
        else:
            replay.add(point)


def _spans(
    engine: Engine, machine_id: int, condition: Condition, hold: int, start: int, end: int
) -> Sequence[AlertSpan]:
    rule = condition.rule
    metrics = {rule.metric} if rule.device else set()
    replay, at = Replay([condition], hold, start=start), start - 1
    if has_memory(rule):
        for point in read_points(engine, machine_id, at - hold_of(rule, hold), at, metrics):
            replay.remember(point)
    goodbyes = read_goodbyes(engine, machine_id, at)
    while at < end - 1:
        until = min(at + SLICE, end - 1)
        points = read_points(engine, machine_id, at, until, metrics)
        if len(points) == POINTS_MAX:
            until = min(until, max(points[-1].at, at + 1))
        elif not points:
            found = next_minute(engine, machine_id, until)
            until = end - 1 if found is None else min(max(until, found - 1), end - 1)
        feed(replay, points, [each for each in goodbyes if at < each <= until])
        at = until
    decision = replay.timelines[rule.name].advance(end)
    collect(replay.spans[rule.name], [decision] if decision else [])
    return replay.spans[rule.name]
