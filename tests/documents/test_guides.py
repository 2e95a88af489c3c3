"""The guides name every command, setting, metric, reason of a dead letter, and figure of the JSON output."""

import re
from pathlib import Path

import cli_reference
import pytest

from ingestor import metrics
from runtime.settings.agent import AgentSettings
from runtime.settings.broker import BrokerSettings, MosquittoSettings, NatsSettings
from runtime.settings.client import ActSettings, WatchSettings
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.homeassistant import HomeAssistantSettings
from runtime.settings.ingestor import IngestorSettings
from runtime.settings.notifier import NotifierSettings
from runtime.settings.part_settings import PartSettings
from schemas.contract.alert_rules import DEFAULT_RULES, AlertRule
from schemas.fleet.ledger import Ledger
from schemas.fleet.organisation import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"
KINDS = (
    ActSettings,
    AgentSettings,
    BrokerSettings,
    DashboardSettings,
    HomeAssistantSettings,
    IngestorSettings,
    MosquittoSettings,
    NatsSettings,
    NotifierSettings,
    WatchSettings,
)
NOT_GUIDES = {"cli", "decisions", "glossary", "index"}
"""Generated, or without instructions."""


def named(*names: str) -> set[str]:
    """Return what stands in backquotes in these documents, outside of code blocks."""
    text = "\n".join((DOCS / f"{name}.md").read_text() for name in names)
    return set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))


@pytest.mark.parametrize("command", sorted(name for name, _ in cli_reference.commands()))
def test_every_command_is_in_a_guide(command: str) -> None:
    guides = {path.stem for path in DOCS.glob("*.md")} - NOT_GUIDES
    assert any(name == command or name.startswith(f"{command} ") for name in named(*guides))


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_is_named_and_described(kind: type[PartSettings]) -> None:
    assert not set(kind.model_fields) - named("settings")
    assert all(field.description for field in kind.model_fields.values())


def test_no_kind_of_settings_is_forgotten() -> None:
    def leaves(kind: type[PartSettings]) -> set[type[PartSettings]]:
        models = [child for child in kind.__subclasses__() if child.__module__ != "runtime.settings.loading"]
        return {leaf for child in models for leaf in leaves(child)} or {kind}

    ours = {kind for kind in leaves(PartSettings) if not kind.__module__.startswith("tests")}
    assert {kind for kind in ours if kind.__module__.startswith("runtime.")} == set(KINDS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_of_an_organisation_is_named(setting: str) -> None:
    assert setting in named("settings")


def test_every_figure_of_the_ledger_is_named() -> None:
    assert not set(Ledger.__slots__) - named("history")


def test_every_metric_is_named() -> None:
    families = metrics.Metrics({}).registry.collect()
    found = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert len(found) > 5
    assert not found - named("monitoring")


@pytest.mark.parametrize("reason", metrics.REASONS)
def test_every_reason_of_a_dead_letter_is_named(reason: str) -> None:
    assert reason in named("troubleshooting")


def test_the_glossary_has_30_to_50_terms_and_defines_each_once() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\* \|", (DOCS / "glossary.md").read_text(), flags=re.MULTILINE)
    assert 30 <= len(terms) <= 50
    assert len(terms) == len({term.lower() for term in terms})


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.name)
def test_every_rule_of_a_new_organisation_is_in_the_guide_with_its_severity(rule: AlertRule) -> None:
    assert f"| `{rule.name}` | {rule.title} | {rule.severity} |" in (DOCS / "alerting.md").read_text()
