"""Durations that have begun when an ingestor ends: the next one goes on with them, to the second."""

from collections.abc import Callable
from typing import Any

import pytest
from alert_rules import set_rules
from clocks import Clock
from facts import DOWN, UP, state
from ingestion import Bench, Speaker
from sqlalchemy import Engine, select

from ingestor.admin import access
from ingestor.alerts import rules as python_rules
from ingestor.alerts.rule import Rule
from schemas.contract.alert_rules import AlertRule
from schemas.database import tables

VERSION = AlertRule(name="version", title="New", kind="changed", metric="agent_version", clear_seconds=60)
PACKAGE = AlertRule(name="kernel", title="New", kind="changed", metric="packages", device="linux-*", clear_seconds=60)
STOPPED = AlertRule(
    name="stopped", title="Stopped", kind="unhealthy", metric="containers", for_seconds=60, clear_seconds=60
)
AWAY = AlertRule(name="away", title="Away", kind="away", for_seconds=60, clear_seconds=60)


class Attic:
    """The attic at home, which reports every ten seconds, and an ingestor that may be started anew."""

    def __init__(self, fleet: Engine, clock: Clock, speaker: Speaker, make_bench: Callable[[], Bench]) -> None:
        self.fleet, self.clock, self.speaker, self.make_bench = fleet, clock, speaker, make_bench
        self.bench, self.seq = make_bench(), 0

    def begin(self, rule: AlertRule) -> None:
        set_rules(self.fleet, rule)
        self.bench.publish(self.speaker.status(), self.speaker.info())
        self.report(10)

    def report(self, seconds: float) -> None:
        for _ in range(round(seconds / 5)):
            self.seq += 1
            self.bench.publish(self.speaker.telemetry(self.seq))
            self.bench.step(5.0)

    def restart(self) -> None:
        self.bench = self.make_bench()

    def containers(self, item: object) -> int:
        """Send the list of containers; returns when."""
        state(self.bench, self.speaker.facts("containers", db=item))
        return self.clock.now()

    def alerts(self) -> list[tuple[int, int | None]]:
        query = select(tables.alert.c.started_at, tables.alert.c.ended_at).order_by(tables.alert.c.id)
        with self.fleet.connect() as connection:
            return [(row.started_at, row.ended_at) for row in connection.execute(query)]

    def pending(self) -> list[Any]:
        with self.fleet.connect() as connection:
            return list(connection.execute(select(tables.pending_decision)))


@pytest.fixture
def attic(fleet: Engine, clock: Clock, speaker: Speaker, make_bench: Callable[[], Bench]) -> Attic:
    return Attic(fleet, clock, speaker, make_bench)


def get_a_version(attic: Attic, number: int) -> None:
    attic.bench.publish(attic.speaker.info(agent_version=str(number)))
    attic.bench.step(1.0)


def get_a_package(attic: Attic, number: int) -> None:
    items = {"linux-image": {"fields": {"version": str(number)}}}
    state(attic.bench, attic.speaker.facts("packages", items))
    attic.bench.step(1.0, steps=2)


@pytest.mark.parametrize(("rule", "change"), [(VERSION, get_a_version), (PACKAGE, get_a_package)], ids=["own", "facts"])
def test_an_alert_that_a_second_change_extended_ends_after_the_second_also_if_the_ingestor_restarts(
    attic: Attic, rule: AlertRule, change: Callable[[Attic, int], None]
) -> None:
    attic.begin(rule)
    change(attic, 2)
    change(attic, 3)
    began = attic.alerts()[0][0]
    attic.report(40)
    before = attic.clock.now()
    change(attic, 4)
    second = attic.pending()[0].since
    assert second >= before
    attic.report(5)
    attic.restart()
    attic.report(45)
    assert attic.alerts() == [(began, None)]
    attic.report(20)
    assert attic.alerts() == [(began, second + 60_000)]
    assert attic.pending() == []


def test_an_item_that_is_not_well_when_the_ingestor_restarts_gives_an_alert_when_it_would_have(attic: Attic) -> None:
    attic.begin(STOPPED)
    attic.containers(UP)
    since = attic.containers(DOWN)
    attic.report(40)
    attic.restart()
    attic.report(15)
    assert attic.alerts() == []
    attic.report(10)
    assert [(since - began < 100, ended) for began, ended in attic.alerts()] == [(True, None)]


def test_an_alert_that_is_about_to_end_when_the_ingestor_restarts_ends_when_it_would_have(attic: Attic) -> None:
    attic.begin(STOPPED)
    attic.containers(DOWN)
    attic.report(70)
    over = attic.containers(UP)
    attic.report(40)
    assert len(attic.pending()) == 1
    attic.restart()
    attic.report(30)
    ((_, ended),) = attic.alerts()
    assert ended is not None
    assert over - ended < 100
    assert attic.pending() == []


def test_an_item_that_became_well_while_no_ingestor_ran_gives_no_alert(attic: Attic) -> None:
    attic.begin(STOPPED)
    attic.containers(DOWN)
    attic.report(20)
    attic.restart()
    attic.containers(UP)
    attic.report(80)
    assert attic.alerts() == []
    assert attic.pending() == []


def test_a_duration_of_a_rule_that_was_changed_while_no_ingestor_ran_is_forgotten(attic: Attic) -> None:
    attic.begin(STOPPED)
    attic.containers(DOWN)
    attic.report(40)
    set_rules(attic.fleet, STOPPED.model_copy(update={"title": "Another"}), at=attic.clock.now())
    attic.restart()
    attic.report(50)
    assert attic.alerts() == []
    attic.report(20)
    assert len(attic.alerts()) == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_a_machine_that_is_retired_has_no_duration(attic: Attic, *, restarts: bool) -> None:
    attic.begin(STOPPED)
    attic.containers(DOWN)
    assert len(attic.pending()) == 1
    access.revoke_principal(attic.fleet, "home.attic", now=attic.clock.now)
    if restarts:
        attic.restart()
    attic.bench.step(5.0, steps=16)
    assert attic.pending() == []
    assert attic.alerts() == []


def test_an_absence_that_is_about_to_be_an_alert_is_one_when_it_would_have_been(attic: Attic) -> None:
    attic.begin(AWAY)
    attic.bench.publish(attic.speaker.status("lost"))
    attic.bench.step(1.0, steps=5)
    (row,) = attic.pending()
    attic.bench.step(5.0, steps=8)
    attic.restart()
    attic.bench.step(5.0, steps=6)
    assert attic.alerts() == [(row.since, None)]


def test_a_rule_in_python_goes_on_with_its_duration(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Rule(
        "busy", "Busy", "warning", lambda facts: "hot" if facts.machine.name == "attic" else "", after_seconds=60
    )
    monkeypatch.setattr("ingestor.ingestor.discover", lambda package: (busy,) if package is python_rules else ())
    attic.restart()
    attic.begin(STOPPED)
    attic.bench.step(0.5, steps=20)
    (row,) = attic.pending()
    attic.bench.step(1.0, steps=30)
    attic.restart()
    attic.bench.step(0.5, steps=80)
    assert attic.alerts() == [(row.since, None)]
