"""From the form of a rule to a message: the rule that a page makes, what a machine states, the alert, the webhook."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from acting import Operator
from clocks import Clock
from facts import state
from ingestion import Bench, Speaker, open_bench
from ingestor_fixtures import fleet
from notifying import NotifyingWorld, notifying_world, run_until
from service_stubs import HttpStub, http_stub
from sqlalchemy import Engine

from dashboard.rules.entered_rule import read_form
from runtime.clock import SystemClock
from schemas.contract import topics
from schemas.contract.administration import SetRule
from schemas.contract.alert_rules import AlertRule

__all__ = ["fleet"]

DAY_TARGET = "https://shop.example.org/"
Values = Mapping[str, Any]
GOOD = {"health": "good", "fields": {"state": "running"}}
CASES: dict[str, tuple[Values, Values, str]] = {
    "/data above 90 %": (
        {"kind": "above", "metric": "disk_used_percent", "device": "/data", "threshold": 90.0},
        {"series": {"disk_used_percent": {"/": 20.0, "/data": 95.5}}},
        "/data: 96 %",
    ),
    "a stopped container": (
        {"kind": "unhealthy", "metric": "containers", "device": "shop-*", "warnings": True},
        {"facts": {"shop-1": {"health": "fair", "fields": {"state": "exited"}}, "blog": GOOD}},
        "shop-1: warning",
    ),
    "a failed unit": (
        {"kind": "unhealthy", "metric": "services", "device": ""},
        {"facts": {"nginx.service": {"health": "critical", "fields": {"state": "failed"}}, "cron.service": GOOD}},
        "nginx.service: critical",
    ),
    "a critical check": (
        {"kind": "unhealthy", "metric": "checks", "device": ""},
        {"facts": {"backup": {"health": "critical", "fields": {"output": "3 days old"}}}},
        "backup: critical",
    ),
    "a certificate with seven days left": (
        {"kind": "below", "metric": "probe_certificate_days", "device": "*", "threshold": 7.0},
        {"series": {"probe_certificate_days": {DAY_TARGET: 6.9, "tls://mail.example.org:993": 80.0}}},
        f"{DAY_TARGET}: 6.9",
    ),
}
"""What a user enters, what the machine states, and the detail of the message."""


@pytest.fixture
def stub() -> Iterator[HttpStub]:
    with http_stub() as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NotifyingWorld]:
    with notifying_world(tmp_path) as made:
        yield made


@pytest.fixture
def bench(fleet: Engine, clock: Clock, world: NotifyingWorld) -> Bench:
    """An ingestor on the broker of the notifier."""
    clock.milliseconds = SystemClock().now()
    made = open_bench(fleet, clock, world.broker)
    made.step(steps=2)
    return made


def add_rule(bench: Bench, entered: Values) -> AlertRule:
    """Add the rule that the dialog of the page makes, as the dashboard does."""
    rule = read_form({"title": "Told", "for": 0.0, "clear_for": 0.0, "severity": "critical", **entered}.get, None)
    bench.publish(Operator(bench.clock, level="_dashboard").administer(SetRule(rule=rule)))
    bench.step(1, steps=3)
    return rule


@pytest.mark.parametrize("case", CASES)
def test_what_a_page_asks_for_is_told(
    case: str, bench: Bench, world: NotifyingWorld, stub: HttpStub, clock: Clock
) -> None:
    entered, stated, detail = CASES[case]
    world.add("hook", f"http://127.0.0.1:{stub.port}/hook")
    notifier = world.notifier()
    rule, attic = add_rule(bench, entered), Speaker(clock)
    bench.publish(attic.status(), attic.info())
    if "series" in stated:
        bench.publish(attic.telemetry(1, series=dict(stated["series"])))
    else:
        state(bench, attic.facts(str(entered["metric"]), stated["facts"]))
    bench.step(1, steps=3)

    assert topics.ALERT.at(org="home", machine="attic", rule=rule.name) in bench.broker.retained
    run_until(notifier, lambda: stub.received, seconds=30)
    notifier.stop()
    (alert,) = stub.received[0].json["alerts"]
    told = {name: alert[name] for name in ("kind", "machine", "title", "severity", "detail")}
    assert told == {"kind": "problem", "machine": "attic", "title": "Told", "severity": "critical", "detail": detail}
