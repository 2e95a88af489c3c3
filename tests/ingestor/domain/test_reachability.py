"""When a target that several machines probe is down."""

import pytest

from ingestor.domain.incidents import TARGETS_MAX, Incidents, Kind
from ingestor.domain.reachability import ProbeVerdict, judge_target, read_verdict


def said(**by_machine: bool | None) -> list[ProbeVerdict]:
    return [ProbeVerdict(name, reachable) for name, reachable in by_machine.items()]


@pytest.mark.parametrize(
    ("verdicts", "quorum", "is_down"),
    [
        (said(a=False, b=False, c=True), 2, True),
        (said(a=False, b=True, c=True), 2, False),
        (said(a=False), 2, True),
        (said(a=False, b=None), 2, True),
        (said(a=False, b=True), 1, True),
        (said(a=True, b=None), 1, False),
        (said(a=None, b=None), 1, None),
        ([], 1, False),
    ],
)
def test_it_is_down_when_enough_of_the_machines_that_know_say_so(
    verdicts: list[ProbeVerdict], quorum: int, is_down: bool | None
) -> None:
    assert judge_target(verdicts, quorum).is_down is is_down


def test_it_names_the_machines_that_cannot_reach_it_and_counts_those_that_know() -> None:
    state = judge_target(said(c=False, a=False, b=True, d=None), 2)
    assert (state.names, state.of) == (("a", "c"), 3)


@pytest.mark.parametrize(
    ("health", "fields", "is_online", "reachable"),
    [
        ("critical", {"reachable": False}, True, False),
        ("critical", {"reachable": True}, True, True),  # its certificate ends soon
        ("fair", {"reachable": None}, True, None),  # one failed attempt
        ("unknown", {}, True, None),
        ("critical", {"reachable": False}, False, None),
        ("critical", {"reachable": "no"}, True, None),
        (None, {}, True, None),
    ],
)
def test_a_result_counts_only_if_its_machine_is_there_and_knows(
    health: str | None, fields: dict[str, bool | str | None], is_online: bool, reachable: bool | None
) -> None:
    assert read_verdict("attic", health, fields, is_online=is_online).reachable is reachable


def test_targets_of_one_organisation_have_a_bounded_number_of_incidents() -> None:
    incidents = Incidents()
    for number in range(TARGETS_MAX + 5):
        incidents.target_down("home", f"tcp://a:{number}", ["attic"], 1, now=1)
    incidents.target_down("office", "tcp://a:1", ["attic"], 1, now=1)
    assert len(incidents.open_targets()) == TARGETS_MAX + 1
    assert {each.kind for each in incidents.changed()} == {Kind.TARGET_DOWN}
    incidents.target_down("home", "tcp://a:0", ["attic"], 1, now=2)
    assert incidents.changed() == []
    incidents.target_up("home", "tcp://a:0", now=3)
    (ended,) = incidents.changed()
    assert (ended.details["target"], ended.ended_at) == ("tcp://a:0", 3)
