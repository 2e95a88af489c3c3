"""A target that machines cannot reach is one incident, from the facts of the machines to the broker."""

from collections.abc import Callable

import pytest
from clocks import Clock
from facts import state
from ingestion import Bench, Speaker
from sqlalchemy import Engine, update

from broker.access.policy import Principal, Role
from ingestor.admin.access import add_principal
from ingestor.presence.reachability import STEP_SECONDS
from schemas.contract.alerts import IncidentMessage
from schemas.database import tables

TARGET = "https://shop.example.org/"
DOWN = {"health": "critical", "fields": {"reachable": False, "output": "status 503"}}
UP = {"health": "good", "fields": {"reachable": True, "output": "status 200"}}


@pytest.fixture
def speakers(fleet: Engine, clock: Clock) -> list[Speaker]:
    """Three machines of home."""
    for name in ("cellar", "garden"):
        add_principal(fleet, Principal(Role.MACHINE, "home", name), "made-up", now=clock.now)
    return [Speaker(clock, name, stream=f"{number:016x}") for number, name in enumerate(("attic", "cellar", "garden"))]


def incidents(bench: Bench) -> list[IncidentMessage]:
    """Return the retained incidents of targets, once what was stated is judged."""
    bench.step(STEP_SECONDS / 2, steps=4)
    kept = [message for topic, message in bench.broker.retained.items() if "/_incidents/" in topic]
    found = [IncidentMessage.decode(message.payload) for message in kept if message.payload]
    return [each for each in found if each.kind == "target-down"]


def test_it_begins_with_the_second_machine_and_ends_when_fewer_say_so(
    make_bench: Callable[[], Bench], speakers: list[Speaker]
) -> None:
    bench, (attic, cellar, garden) = make_bench(), speakers
    bench.publish(*(speaker.status() for speaker in speakers))
    state(bench, *(speaker.facts("probes", {TARGET: UP}) for speaker in speakers))
    assert incidents(bench) == []
    state(bench, attic.facts("probes", {TARGET: DOWN}))
    assert incidents(bench) == [], "one machine alone may have a network of its own"
    bench.publish(*(speaker.status() for speaker in speakers))
    state(bench, cellar.facts("probes", {TARGET: DOWN}))
    (found,) = incidents(bench)
    assert (found.target, found.machines, found.machine_count, found.until) == (TARGET, ("attic", "cellar"), 2, None)
    bench.publish(*(speaker.status() for speaker in speakers))
    state(bench, garden.facts("probes", {TARGET: DOWN}))
    assert incidents(bench)[0].machines == ("attic", "cellar", "garden")

    bench = make_bench()  # another ingestor goes on with the open incident
    bench.publish(*(speaker.status() for speaker in speakers))
    assert [each.id for each in incidents(bench)] == [found.id]
    state(bench, attic.facts("probes", {TARGET: UP}), cellar.facts("probes", {TARGET: UP}))
    assert incidents(bench)[0].until is not None


def test_a_machine_that_is_gone_says_nothing_and_without_any_nothing_changes(
    bench: Bench, speakers: list[Speaker]
) -> None:
    attic, cellar, _garden = speakers
    bench.publish(attic.status(), cellar.status())
    state(bench, *(speaker.facts("probes", {TARGET: DOWN}) for speaker in (attic, cellar)))
    assert len(incidents(bench)) == 1
    bench.publish(cellar.status("stopped"))
    assert incidents(bench)[0].machines == ("attic",), "one of one"
    bench.publish(attic.status("stopped"))
    assert incidents(bench)[0].until is None
    attic.session += 1
    bench.publish(attic.status())
    state(bench, attic.no_facts("probes"), cellar.no_facts("probes"))
    assert incidents(bench)[0].until is not None


def test_the_number_of_machines_is_a_setting_of_the_organisation(
    make_bench: Callable[[], Bench], speakers: list[Speaker], fleet: Engine
) -> None:
    with fleet.begin() as connection:
        connection.execute(
            update(tables.org).where(tables.org.c.name == "home").values(config={"unreachable_machines": 1})
        )
    bench, (attic, cellar, _garden) = make_bench(), speakers
    bench.publish(attic.status(), cellar.status())
    state(bench, attic.facts("probes", {TARGET: DOWN}), cellar.facts("probes", {TARGET: UP}))
    assert incidents(bench)[0].machines == ("attic",)
