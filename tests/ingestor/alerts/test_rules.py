"""Alert rules in Python: their contract, and where they come from."""

from pathlib import Path
from typing import Any

import pytest
from distributions import install

from ingestor.alerts import rules
from ingestor.alerts.rule import GROUP, Facts, Rule, discover, rule
from ingestor.domain.machine import Latest, Machine
from schemas.contract.messages import Vitals
from schemas.contract.org_config import OrgConfig


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
    assert found.keys() == {"processes", "disk"}
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
