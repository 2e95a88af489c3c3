"""What each alert rule finds, and what it cannot tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from distributions import install

from ingestor.alerts import rules
from ingestor.alerts.rule import GROUP, Facts, Rule, discover, rule
from ingestor.domain.machine import Estimate, Latest, Machine
from ingestor.domain.presence import Presence, PresenceState
from schemas.contract.messages import Vitals
from schemas.contract.org_config import OrgConfig
from schemas.contract.topics import is_id

RULES = {found.name: found for found in discover(rules)}
Vital = Mapping[str, float | None]
WELL: Vital = {"cpu_percent": 10.0, "memory_percent": 20.0, "disk_percent": 30.0}


def found(
    name: str, state: PresenceState | None = None, *, mass_silence: bool = False, offset: int = 0, vitals: Vital = WELL
) -> str | None:
    """What a rule says of a machine that is well but for these."""
    machine = Machine(1, "home", "attic", state=state or PresenceState(Presence.ONLINE))
    machine.latest = Latest(1, Vitals.model_validate({**WELL, **vitals}))
    machine.clock = Estimate(offset)
    return RULES[name].evaluate(Facts(machine, OrgConfig(), mass_silence))


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
    assert found("away", state, mass_silence=True) is None


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
    assert broken_one.evaluate(Facts(Machine(1, "home", "attic"), OrgConfig())) is None


PLUGIN = """
from ingestor.alerts.rule import rule

@rule(title="Too many processes", severity="warning")
def processes(facts):
    return "many" if facts.machine.latest.vitals.process_count > 1000 else ""

@rule(title="Another disk", severity="warning")
def disk(facts):
    return ""
"""
WRONG = """
from ingestor.alerts.rule import rule

@rule(title="", severity="warning")
def untitled(facts):
    return ""
"""


def test_an_installed_distribution_provides_rules_and_one_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {
        "processes": "our_rules:processes",
        "disk": "our_rules:disk",
        "gone": "our_rules:gone",
        "broken": "our_broken_rules:anything",
        "wrong": "our_wrong_rules:untitled",
        "text": "our_rules:PLAIN",
    }
    modules = {
        "our_rules": PLUGIN + "PLAIN = 1",
        "our_broken_rules": "raise ZeroDivisionError",
        "our_wrong_rules": WRONG,
    }
    install(tmp_path, "our-rules", GROUP, entries, **modules)
    monkeypatch.syspath_prepend(tmp_path)
    found = {each.name: each for each in discover(rules)}
    assert found.keys() == {*RULES, "processes"}
    assert found["disk"] is RULES["disk"], "a shipped rule wins"
    machine = Machine(1, "home", "attic")
    machine.latest = Latest(1, Vitals(process_count=2000))
    assert found["processes"].evaluate(Facts(machine, OrgConfig())) == "many"


@pytest.mark.parametrize("result", [1, True, b"full", ["full"]])
def test_a_rule_that_returns_no_text_cannot_tell(result: object) -> None:
    wrong = Rule("wrong", "Wrong", "warning", lambda _: result)  # type: ignore[arg-type, return-value]
    assert wrong.evaluate(Facts(Machine(1, "home", "attic"), OrgConfig())) is None


@pytest.mark.parametrize(
    "wrong", [{"name": "Wrong_"}, {"title": ""}, {"title": "x" * 65}, {"severity": "fatal"}, {"after_seconds": -1}]
)
def test_a_rule_that_cannot_be_published_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="rule"):
        Rule(**{"name": "right", "title": "Right", "severity": "warning", "condition": lambda _: "", **wrong})
