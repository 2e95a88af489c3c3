"""Two ingestors that divide live and late samples by machine: one of them corrects the alerts of all."""

import random

import pytest
from alert_rules import set_rules
from clocks import Clock
from ingestion import Speaker
from lateness import RULES, Outbox, Pattern, expected, recorded
from several import Several
from sqlalchemy import Engine

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_principal

MACHINES = 6
SAMPLES = 45


@pytest.fixture
def database_url(postgresql_empty_url: str) -> str:
    return postgresql_empty_url


def test_patterns_of_lateness_give_the_alerts_of_the_same_data_on_time_whoever_stores_them(
    fleet: Engine, clock: Clock
) -> None:
    set_rules(fleet, *RULES)
    outboxes = [Outbox(f"m{number}", clock) for number in range(MACHINES)]
    for outbox in outboxes:
        add_principal(fleet, Principal(Role.MACHINE, "home", outbox.name), "made-up", now=clock.now)
    several = Several(fleet, clock)
    first, second = several.start("ingestor"), several.start("ingestor-2")
    first.publish(*(Speaker(clock, name=outbox.name).status() for outbox in outboxes))
    several.pass_time(2)
    patterns = [Pattern(outbox, random.Random(number)) for number, outbox in enumerate(outboxes)]  # noqa: S311
    for _ in range(SAMPLES):
        for _ in range(2):
            clock.advance(5)  # less than the time of a lease
            several.step()
        for pattern in patterns:
            first.publish(*pattern.send())
        several.step()
    first.publish(*(outbox.late(outbox.waiting) for outbox in outboxes if outbox.waiting))
    for _ in range(30):
        several.pass_time(4)
        if all(recorded(fleet, outbox) == expected(outbox, clock.now()) for outbox in outboxes):
            break
    assert min(bench.ingestor.counters["stored"] for bench in (first, second)) > MACHINES * SAMPLES / 4
    for outbox in outboxes:
        assert recorded(fleet, outbox) == expected(outbox, clock.now()), outbox.name
