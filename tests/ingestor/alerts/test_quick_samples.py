"""The quick path of a sample that can change nothing: an ingestor that evaluates every rule for every sample agrees."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from alert_rules import cpu_rule, set_rules
from clocks import Clock
from ingestion import Bench, Readings, Speaker, open_bench
from lateness import RULES, Outbox, Pattern, rows
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from broker.client.memory import MemoryBroker
from ingestor.admin.access import add_org, add_principal
from ingestor.alerts.late_data import SETTLE_SECONDS
from ingestor.alerts.plan import Plan
from ingestor.alerts.rule_book import RuleBook
from ingestor.alerts.watch import Watch
from runtime.urls import sqlite_url
from schemas.contract.alert_rules import AlertRule
from schemas.contract.messages import Sample
from schemas.database.engine import open_engine

MACHINES, SAMPLES, RULES_CHANGE = 4, 120, 15
RATES = (
    cpu_rule("uplink", kind="rate-above", metric="network_sent_bytes", threshold=1000.0, for_seconds=20.0),
    cpu_rule("still", kind="rate-below", metric="network_received_bytes", threshold=10.0, for_seconds=0.0),
    cpu_rule("downlink", kind="rate-above", metric="network_received_bytes", threshold=4_000.0, for_seconds=0.0),
)


class CarefulPlan(Plan):
    """Takes no sample for one that changes nothing, and evaluates every rule for it."""

    def is_quiet(self, *_: Any) -> bool:  # noqa: ANN401 - as there
        return False

    def candidates(self, *_: Any) -> list[Any]:  # noqa: ANN401 - as there
        return list(self.sampled)


@dataclass
class CountingOutbox(Outbox):
    """A machine with counters that run, stand still, are reset or cannot be read."""

    chance: random.Random = field(default_factory=random.Random)
    sent: int = 0
    received: int = 0

    def take(self, series: Readings | None = None, /, **vitals: float | None) -> Sample:
        chance = self.chance
        self.sent = chance.choice((0, self.sent, self.sent + 5_000, self.sent + 50_000))
        self.received += chance.choice((0, 10_000, 10_000, 90_000))
        counted = {
            "network_sent_bytes": chance.choice((self.sent, self.sent, self.sent, None)),
            "network_received_bytes": self.received,
            "memory_percent": chance.choice((50.0, 50.0, 50.0, None)),
        }
        return super().take(series, **vitals, **counted)


@pytest.fixture
def careful_fleet(migrated_file: Path, tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    """Another database with the organisation home."""
    shutil.copyfile(migrated_file, tmp_path / "careful.db")
    engine = open_engine(sqlite_url(tmp_path / "careful.db"))
    add_org(engine, "home", now=clock.now)
    yield engine
    engine.dispose()


def start(fleet: Engine, clock: Clock, *names: str) -> Bench:
    for name in names:
        add_principal(fleet, Principal(Role.MACHINE, "home", name), "made-up", now=clock.now)
    bench = open_bench(fleet, clock, MemoryBroker())
    bench.ingestor.step()
    bench.publish(*(Speaker(clock, name=name).status() for name in names))
    bench.ingestor.step()
    return bench


def change_rules(chance: random.Random) -> list[AlertRule]:
    """Few of the rules, one of them a rate, so that most samples fulfil none; some with another threshold."""
    some = [chance.choice(RATES), *chance.sample(RULES, chance.randint(0, 2))]
    return [
        rule.model_copy(update={"threshold": rule.threshold * 1.1})
        if rule.threshold is not None and rule.clear_threshold is None and chance.random() < 0.3
        else rule
        for rule in some
    ]


def test_evaluating_every_rule_for_every_sample_gives_the_same_alerts(
    fleet: Engine, careful_fleet: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)  # noqa: S311 - a pattern
    outboxes = [CountingOutbox(f"m{n}", clock, chance=random.Random(n)) for n in range(MACHINES)]  # noqa: S311
    benches = [start(each, clock, *(outbox.name for outbox in outboxes)) for each in (fleet, careful_fleet)]
    be_careful(monkeypatch, benches[1])
    quiet = count_true(monkeypatch, Plan, "is_quiet"), count_true(monkeypatch, Watch, "passes_quietly")
    patterns = [Pattern(outbox, outbox.chance) for outbox in outboxes]

    def step(seconds: float = 0.0, *, steps: int = 1) -> None:
        for _ in range(steps):
            clock.advance(seconds)
            for bench in benches:
                bench.ingestor.step()

    for number in range(SAMPLES):
        if number % RULES_CHANGE == 0:
            rules = change_rules(chance)
            for each in (fleet, careful_fleet):
                set_rules(each, *rules, at=clock.now())
            step(1.0, steps=2)
        step(chance.choice((10.0, 10.0, 10.0, 2.0, 70.0)))
        messages = [message for pattern in patterns for message in pattern.send()]
        for bench in benches:
            bench.publish(*messages)
        step()
    step(SETTLE_SECONDS)
    step(0.1, steps=5 * MACHINES)
    for outbox in outboxes:
        quick, careful = (alerts(each, outbox.name) for each in (fleet, careful_fleet))
        assert quick == careful, outbox.name
        assert quick
    assert min(count for (count,) in quiet) > SAMPLES / 4, "of these the test is about"


def be_careful(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """Have an ingestor evaluate each sample rule by rule."""
    book, make = bench.ingestor._monitor._alerts._book, RuleBook._make

    def careful(*given: Any) -> Plan:  # noqa: ANN401 - passed on
        return CarefulPlan(list(make(book, *given).conditions.values()))

    monkeypatch.setattr(book, "_make", careful)


def count_true(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[int]:
    """Count the calls of a method that return True."""
    found, method = [0], getattr(owner, name)

    def counting(*given: Any) -> bool:  # noqa: ANN401 - passed on
        result = bool(method(*given))
        found[0] += result
        return result

    monkeypatch.setattr(owner, name, counting)
    return found


def alerts(fleet: Engine, machine: str) -> list[tuple[Any, ...]]:
    """The alerts of a machine."""
    found = rows(fleet, machine)
    return sorted((each.rule, each.started_at, each.ended_at or 0, each.withdrawn, each.detail) for each in found)
