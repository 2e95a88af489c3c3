"""A rule on stored samples raises the alerts that the ingestor raised when these samples arrived."""

from typing import Any

import pytest
from alert_rules import set_rules
from ingestion import Bench, Readings, Speaker
from sqlalchemy import Engine, select

from ingestor.alerts import stored_evaluation
from ingestor.alerts.stored_evaluation import evaluate_stored
from ingestor.storage.alert_store import read_points
from schemas.contract.alert_rules import AlertRule
from schemas.contract.messages import Vitals
from schemas.database import tables

INTERVAL = 10


def rule(name: str, **values: Any) -> AlertRule:  # noqa: ANN401 - fields of any type
    base = {"name": name, "title": name, "kind": "above", "metric": "cpu_percent", "threshold": 90.0}
    return AlertRule.model_validate({**base, "for_seconds": 30.0, "clear_seconds": 20.0, **values})


RULES = (
    rule("busy"),
    rule("sending", kind="rate-above", metric="network_sent_bytes", threshold=1e6),
    rule("full", metric="disk_used_percent", device="*", threshold=90.0),
)


def tell(bench: Bench, speaker: Speaker) -> None:
    """Tell of busy and quiet times, a fast transfer, a full file system, and an orderly stop while busy."""
    sent = 0
    bench.publish(speaker.info(), speaker.status())
    for seq in range(1, 61):
        bench.clock.advance(INTERVAL)
        sent += 50_000_000 if 20 <= seq < 30 else 1000
        busy = 5 <= seq < 12 or 14 <= seq < 16 or seq >= 50
        vitals = Vitals(cpu_percent=97.0 if busy else 10.0, network_sent_bytes=sent)
        series: Readings = (
            {"disk_used_percent": {"/": 10.0, "/data": 95.0 if 30 <= seq < 48 else 50.0}} if seq % 3 == 0 else {}
        )
        bench.publish(speaker.telemetry(seq, vitals=vitals, series=series))
        bench.step()
    bench.publish(speaker.status("stopped"))
    bench.step(0.0, steps=2)


def raised(engine: Engine, name: str) -> list[tuple[int, int | None, str]]:
    columns = (tables.alert.c.started_at, tables.alert.c.ended_at, tables.alert.c.detail)
    query = select(*columns).where(tables.alert.c.rule == name).order_by(tables.alert.c.started_at)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_the_alerts_are_those_that_were_raised(fleet: Engine, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    set_rules(fleet, *RULES)
    bench.step(10.0, steps=3)
    start = bench.clock.now()
    tell(bench, Speaker(bench.clock))
    end = bench.clock.now() + 1
    monkeypatch.setattr(stored_evaluation, "SLICE", 95_000)  # some slices
    for each in RULES:
        live = raised(fleet, each.name)
        found = [
            (alert.started_at, alert.ended_at, alert.detail)
            for alert in evaluate_stored(fleet, "home", each, start=start, end=end)
        ]
        assert live, each.name
        assert found == live, each.name
    assert len(raised(fleet, "busy")) == 2, "the short peak is none"


def test_a_stricter_rule_raises_less_and_none_outside_the_period(fleet: Engine, bench: Bench) -> None:
    start = bench.clock.now()
    tell(bench, Speaker(bench.clock))
    end = bench.clock.now() + 1
    assert len(list(evaluate_stored(fleet, "home", rule("busy"), start=start, end=end))) == 2
    assert list(evaluate_stored(fleet, "home", rule("busy", threshold=99.0), start=start, end=end)) == []
    assert list(evaluate_stored(fleet, "home", rule("busy"), start=start, end=start + 50_000)) == []
    assert list(evaluate_stored(fleet, "office", rule("busy"), start=start, end=end)) == []


def test_times_without_samples_are_not_read_slice_by_slice(
    fleet: Engine, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, speaker = bench.clock.now(), Speaker(bench.clock)
    tell(bench, speaker)
    bench.clock.advance(80_000)
    bench.publish(speaker.telemetry(100))
    bench.step()
    near = [
        each.started_at for each in evaluate_stored(fleet, "home", rule("busy"), start=start, end=bench.clock.now())
    ]
    reads = list[int]()

    def counted(*of: Any) -> Any:  # noqa: ANN401
        reads.append(of[2])
        return read_points(*of)

    monkeypatch.setattr(stored_evaluation, "read_points", counted)
    far = 250_000_000_000_000
    assert [each.started_at for each in evaluate_stored(fleet, "home", rule("busy"), start=-far, end=far)] == near
    assert len(near) == 2
    assert len(reads) < 10
