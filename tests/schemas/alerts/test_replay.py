"""A replay from the middle of a history gives the alerts of the whole history."""

import random

import pytest

from schemas.alerts.condition import Condition, resolve
from schemas.alerts.readings import SamplePoint
from schemas.alerts.replay import Replay, pair
from schemas.alerts.timeline import AlertSpan
from schemas.contract.alert_rules import AlertRule
from schemas.contract.messages import Vitals

HOLD = 45_000
RULES = [
    AlertRule(name="hot", title="Hot", kind="above", metric="cpu_percent", threshold=90, for_seconds=40),
    AlertRule(
        name="wide",
        title="Wide",
        kind="above",
        metric="cpu_percent",
        threshold=80,
        clear_threshold=40,
        for_seconds=20,
        clear_seconds=0,
    ),
    AlertRule(name="idle", title="Idle", kind="below", metric="cpu_percent", threshold=20, clear_seconds=30),
    AlertRule(name="gone", title="Gone", kind="no-data", metric="cpu_percent", for_seconds=25),
]
CONDITIONS: list[Condition] = [resolve(rule) for rule in RULES]
LEAD = max(max(each.for_, each.clear) for each in CONDITIONS) + HOLD + 1


def history(seed: int) -> list[SamplePoint]:
    """Samples every ten seconds for half an hour, in runs of a value, with gaps."""
    chance, found, at = random.Random(seed), list[SamplePoint](), 1_000_000  # noqa: S311 - a test's pattern
    while len(found) < 180:
        value = chance.choice([5.0, 15.0, 50.0, 85.0, 95.0, None])
        for _ in range(chance.randint(1, 12)):
            at += 10_000
            if chance.random() > 0.1:
                found.append(SamplePoint(at, Vitals(cpu_percent=value), {}, 0))
        at += chance.choice([0, 0, 0, 60_000])
    return found


def evaluated(points: list[SamplePoint]) -> dict[str, list[AlertSpan]]:
    replay = Replay(CONDITIONS, HOLD)
    for point in points:
        replay.add(point)
    return replay.spans


@pytest.mark.parametrize("seed", range(40))
def test_a_replay_from_anywhere_takes_up_the_recorded_alerts(seed: int) -> None:
    points = history(seed)
    whole = evaluated(points)
    for place in range(20, 180, 13):
        start = points[place].at - LEAD
        replay = Replay(CONDITIONS, HOLD, start=start, records=whole)
        for point in points:
            if point.at > start:
                replay.add(point)
        for name, spans in whole.items():
            recent = [span for span in spans if span.ended_at is None or span.ended_at >= points[place].at]
            assert replay.spans[name][len(replay.spans[name]) - len(recent) :] == recent
        assert replay.agrees(points[-1].at, {**whole}) or any(
            timeline.differs_since is not None for timeline in replay.timelines.values()
        )


def test_recorded_alerts_are_paired_with_those_that_they_overlap() -> None:
    first, second, third = AlertSpan(0, 10, 1.0), AlertSpan(20, 30, 1.0), AlertSpan(90, None, 1.0)
    earlier, new = AlertSpan(22, 28, 2.0), AlertSpan(50, 60, 2.0)
    assert pair([first, second, third], [earlier, new, AlertSpan(80, None, 2.0)]) == [
        (second, earlier),
        (None, new),
        (third, AlertSpan(80, None, 2.0)),
        (first, None),
    ]
