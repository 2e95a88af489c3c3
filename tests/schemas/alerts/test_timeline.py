"""The timeline of a rule: when an alert begins and ends, by the times of the values alone."""

from collections.abc import Sequence

import pytest

from schemas.alerts.condition import resolve
from schemas.alerts.timeline import AlertSpan, Timeline, collect
from schemas.contract.alert_rules import AlertRule

HOLD = 45_000
MINUTE = 60_000


def rule(**values: object) -> AlertRule:
    base = {"name": "hot", "title": "Hot", "kind": "above", "metric": "cpu_percent", "threshold": 90.0}
    return AlertRule.model_validate({**base, "for_seconds": 60.0, "clear_seconds": 30.0, **values})


def alerts(
    values: Sequence[float | None], *, every: int = 10_000, made: AlertRule | None = None
) -> list[tuple[int, object]]:
    """Begin and end, in seconds, of the alerts that these values give, and of the one that is active."""
    timeline, spans = Timeline(resolve(made or rule()), HOLD), list[AlertSpan]()
    for number, value in enumerate(values):
        collect(spans, timeline.add(number * every, value))
    return [(span.started_at // 1000, None if span.ended_at is None else span.ended_at // 1000) for span in spans]


def test_an_alert_begins_with_its_condition_once_that_has_lasted() -> None:
    assert alerts([95.0] * 6) == []
    assert alerts([10.0] + [95.0] * 7) == [(10, None)]


def test_a_duration_ends_between_two_values() -> None:
    timeline = Timeline(resolve(rule(for_seconds=65.0)), HOLD)
    for at in range(0, 70_000, 10_000):
        assert timeline.add(at, 95.0) == []
    assert timeline.due_at == 65_000
    decision = timeline.advance(65_000)
    assert decision is not None
    assert (decision.begins, decision.at, decision.decided_at) == (True, 0, 65_000)


def test_a_peak_and_a_gap_interrupt_the_duration() -> None:
    assert alerts([95.0] * 5 + [10.0] + [95.0] * 5) == []
    assert alerts([95.0] * 5 + [None] + [95.0] * 5) == []
    timeline = Timeline(resolve(rule()), HOLD)
    timeline.add(0, 95.0)
    assert timeline.add(59_000, 95.0) == [], "nothing was known for 14 seconds"
    assert timeline.differs_since == 59_000


def test_an_alert_ends_when_its_condition_did_once_it_has_been_over_for_a_while() -> None:
    assert alerts([95.0] * 8 + [10.0] * 3) == [(0, None)]
    assert alerts([95.0] * 8 + [10.0] * 4) == [(0, 80)]
    assert alerts([95.0] * 8 + [10.0] * 2 + [95.0] + [10.0] * 3) == [(0, None)]


def test_what_is_not_known_ends_nothing() -> None:
    assert alerts([95.0] * 8 + [None] * 20) == [(0, None)]


def test_between_the_thresholds_an_alert_lasts_and_none_begins() -> None:
    made = rule(clear_threshold=80.0)
    assert alerts([85.0] * 20, made=made) == []
    assert alerts([95.0] * 7 + [85.0] * 20, made=made) == [(0, None)]
    assert alerts([95.0] * 7 + [85.0] * 3 + [79.0] * 4, made=made) == [(0, 100)]


@pytest.mark.parametrize(("value", "expected"), [(5.0, [(0, None)]), (5.1, [])])
def test_below_is_at_or_below(value: float, expected: object) -> None:
    assert alerts([value] * 7, made=rule(kind="below", threshold=5.0)) == expected


def test_a_change_is_an_alert_for_the_duration() -> None:
    made = AlertRule(name="boot", title="Booted", kind="changed", metric="boot", clear_seconds=60)
    assert alerts([0.0, 1.0, *[0.0] * 6], made=made) == [(10, None)]
    assert alerts([0.0, 1.0, *[0.0] * 7], made=made) == [(10, 80)]


def test_without_durations_every_change_counts() -> None:
    assert alerts([10.0, 95.0, 10.0, 95.0], made=rule(for_seconds=0.0, clear_seconds=0.0)) == [(10, 20), (30, None)]
