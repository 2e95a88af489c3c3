"""What each alert rule finds, and what it cannot tell."""

from collections.abc import Mapping

import pytest

from ingestor.alerts import rules
from ingestor.alerts.rule import Facts, Rule, discover, rule
from ingestor.domain.machine import Estimate, Latest, Machine
from ingestor.domain.presence import Presence, PresenceState
from schemas.contract.messages import OrgConfig, Vitals
from schemas.contract.topics import is_id

RULES = {found.name: found for found in discover(rules)}
Vital = Mapping[str, float | None]
WELL: Vital = {"cpu_percent": 10.0, "memory_percent": 20.0, "disk_percent": 30.0}


def found(
    name: str, state: PresenceState | None = None, *, together: bool = False, offset: int = 0, vitals: Vital = WELL
) -> str | None:
    """What a rule says of a machine that is well but for these."""
    machine = Machine(1, "home", "attic", state=state or PresenceState(Presence.ONLINE))
    machine.latest = Latest(1, Vitals.model_validate({**WELL, **vitals}))
    machine.clock = Estimate(offset)
    return RULES[name].look(Facts(machine, OrgConfig(), together))


def test_every_rule_has_a_name_that_may_be_in_a_topic_and_a_title_that_fits() -> None:
    assert len(RULES) >= 6
    for name, each in RULES.items():
        assert is_id(name)
        assert 1 <= len(each.title) <= 64


@pytest.mark.parametrize("name", sorted(RULES))
def test_no_rule_finds_anything_of_a_machine_that_is_well(name: str) -> None:
    assert found(name) == ""


@pytest.mark.parametrize(("vital", "percent"), [("cpu", 95.0), ("memory", 96.0), ("disk", 97.0)])
def test_a_vital_is_exhausted_from_where_it_alone_makes_the_health_critical(vital: str, percent: float) -> None:
    assert found(vital, vitals={f"{vital}_percent": percent}) == f"{percent:.0f} %"
    assert found(vital, vitals={f"{vital}_percent": percent - 0.1}) == ""


@pytest.mark.parametrize("vital", ["cpu", "memory", "disk"])
def test_what_was_not_measured_or_is_out_of_date_is_not_judged(vital: str) -> None:
    full: Vital = {f"{vital}_percent": 100.0}
    assert found(vital, vitals={f"{vital}_percent": None}) is None
    assert found(vital, PresenceState(Presence.OFFLINE, "lost"), vitals=full) is None
    assert found(vital, PresenceState(Presence.ONLINE, verified=False), vitals=full) is None


@pytest.mark.parametrize(
    "state",
    [
        PresenceState(Presence.OFFLINE, "lost"),
        PresenceState(Presence.OFFLINE, "silent"),
        PresenceState(Presence.EXPIRED, "expired"),
    ],
)
def test_who_went_without_a_goodbye_is_away_unless_many_went_together(state: PresenceState) -> None:
    assert found("away", state)
    assert found("away", state, together=True) is None


@pytest.mark.parametrize("reason", ["stopped", "restarting", "rebooting", "asleep", "reinstated"])
def test_who_said_goodbye_is_not_missed(reason: str) -> None:
    assert found("away", PresenceState(Presence.OFFLINE, reason)) == ""


def test_whether_somebody_is_away_nobody_can_tell_who_was_blind() -> None:
    assert found("away", PresenceState(Presence.ONLINE, verified=False)) is None


def test_a_clock_is_wrong_from_a_minute_on_in_either_direction() -> None:
    assert found("clock", offset=59_000) == ""
    assert found("clock", offset=90_000) == "-90 s"
    assert found("clock", offset=-3_600_000) == "+3600 s"


def test_what_cannot_be_measured_is_named() -> None:
    assert found("unmeasured", vitals={"memory_percent": None, "disk_percent": None}) == "Memory, Disk"
    assert found("unmeasured", PresenceState(Presence.STALE), vitals={"disk_percent": None}) is None


def test_a_rule_that_raises_cannot_tell() -> None:
    @rule(title="Broken", severity="warning")
    def broken_one(facts: Facts) -> str | None:
        raise ZeroDivisionError(str(facts))

    assert isinstance(broken_one, Rule)
    assert broken_one.name == "broken-one"
    assert broken_one.look(Facts(Machine(1, "home", "attic"), OrgConfig())) is None
