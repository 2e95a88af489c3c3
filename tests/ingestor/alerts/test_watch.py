"""The watch of one machine: the quick test of a sample agrees with its evaluation rule by rule."""

import random

import pytest
from alert_rules import cpu_rule, thirty_rules

from ingestor.alerts.plan import Plan
from ingestor.alerts.watch import Watch
from ingestor.domain.machine import Description, Machine
from schemas.alerts.condition import resolve
from schemas.alerts.readings import SamplePoint
from schemas.alerts.timeline import Decision
from schemas.contract.alert_rules import AlertRule
from schemas.contract.messages import Vitals

HOLD = 45_000
RULES = (
    cpu_rule("fast", kind="rate-above", metric="network_sent_bytes", threshold=1000.0, for_seconds=20.0),
    cpu_rule("slow", kind="rate-below", metric="network_received_bytes", threshold=10.0, for_seconds=0.0),
    cpu_rule("fan", kind="rate-above", metric="fan_turns", threshold=50.0, for_seconds=10.0),
    cpu_rule("booted", kind="changed", metric="boot", threshold=None, for_seconds=0.0),
)


def history(seed: int) -> list[SamplePoint]:
    """Samples of counters that stand still, run, are reset, or cannot be read, with gaps between some."""
    chance = random.Random(seed)  # noqa: S311 - a pattern
    at, sent, received, fan, booted = 1_000_000, 0, 0, 0, 0
    found = []
    for _ in range(200):
        at += chance.choice((0, 10_000, 10_000, 10_000, 40_000, 90_000))
        sent = chance.choice((0, sent, sent + 5_000, sent + 50_000))
        received = chance.choice((received, received + 90, received + 10_000))
        fan += chance.choice((1, 900))
        booted = at if chance.random() < 0.1 else booted
        vitals = Vitals(
            network_sent_bytes=chance.choice((sent, sent, None)),
            network_received_bytes=received,
            uptime_seconds=(at - booted) // 1000,
        )
        found.append(SamplePoint(at, vitals, {"fan_turns": float(fan)} if chance.random() < 0.9 else {}, 0))
    return found


def watch(rules: tuple[AlertRule, ...]) -> Watch:
    found = Watch(Machine(1, "home", "attic"), Plan([]), HOLD, 1, Description())
    found.select(Plan([resolve(rule) for rule in rules]))
    return found


@pytest.mark.parametrize("rules", [RULES, RULES[:1], RULES[1:2], RULES[2:3], RULES[3:]])
def test_a_sample_that_passes_quietly_changes_nothing(rules: tuple[AlertRule, ...]) -> None:
    quick, thorough, passed = watch(rules), watch(rules), 0
    decisions: tuple[list[Decision], list[Decision]] = [], []
    for point in history(7):
        if not quick.timelines and quick.passes_quietly(point.at, point.vitals, point.extra):
            passed += 1
        else:
            decisions[0].extend(each for _, each in quick.add_sample(point, quiet=True))
        decisions[1].extend(each for _, each in thorough.add_sample(point, quiet=False))
        assert quick.timelines == thorough.timelines
        assert quick.earlier == thorough.earlier
    assert decisions[0] == decisions[1]
    assert decisions[0]
    assert passed


def test_only_the_candidates_of_a_sample_need_to_be_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = (
        *RULES,
        *thirty_rules(),
        cpu_rule("idle", kind="below", metric="cpu_percent", threshold=5.0, for_seconds=10.0),
        cpu_rule("hot-fan", metric="fan_turns", threshold=5_000.0, clear_threshold=2_000.0, clear_seconds=0.0),
        cpu_rule("fan-gone", kind="no-data", metric="fan_turns", threshold=None, for_seconds=0.0),
        cpu_rule("full", metric="disk_used_percent", device="*", threshold=90.0, for_seconds=0.0),
    )
    some, all_, chance = watch(rules), watch(rules), random.Random(3)  # noqa: S311 - a pattern
    monkeypatch.setattr(all_.plan, "candidates", lambda *_: all_.plan.sampled)
    decided, evaluated = 0, 0
    for point in history(11):
        levels = {"cpu_percent": chance.choice((3.0, 50.0, 97.0, None)), "memory_percent": chance.choice((50.0, 99.0))}
        series: dict[str, dict[str, float | None]] = {"disk_used_percent": {"/": chance.uniform(80, 100)}}
        loud = point._replace(
            vitals=point.vitals.model_copy(update=levels),
            clock_offset=chance.choice((0, 0, -90_000)),
            series=series if chance.random() < 0.2 else {},
        )
        evaluated += len(some.plan.candidates(loud, some.timelines))
        decisions = list(some.add_sample(loud, quiet=False))
        assert decisions == list(all_.add_sample(loud, quiet=False))
        assert some.timelines == all_.timelines
        decided += len(decisions)
    assert decided > 100
    assert evaluated < 0.7 * 200 * len(some.plan.sampled)


def test_another_plan_keeps_the_readings_that_it_compares_too() -> None:
    fast, slow = RULES[:2]
    changing, plan = watch((fast,)), Plan([resolve(fast), resolve(slow)])
    assert changing.passes_quietly(1000, Vitals(network_sent_bytes=1, network_received_bytes=1), {})
    changing.select(plan)
    assert changing.earlier.readings == {"network_sent_bytes": 1, "network_received_bytes": None}
