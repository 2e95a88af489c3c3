"""`docs/operations.md` names every command, option, setting and figure of the JSON output."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

import dashfleet
from runtime.settings.agent import AgentSettings
from runtime.settings.broker import BrokerSettings, MosquittoSettings, NatsSettings
from runtime.settings.client import ActSettings, WatchSettings
from runtime.settings.dashboard import DashboardSettings
from runtime.settings.ingestor import IngestorSettings
from runtime.settings.part_settings import PartSettings
from schemas.fleet.ledger import Ledger

OPERATIONS = re.sub(r"```.*?```", "", (Path(__file__).parents[2] / "docs/operations.md").read_text(), flags=re.DOTALL)
NAMED = set(re.findall(r"`([^`]+)`", OPERATIONS))


def commands(group: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401 - Typer's own kind of click
    """Every command by its words."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found.update(commands(command, f"{name} "))
        if not hasattr(command, "commands") or command.invoke_without_command:
            found[f"{prefix}{name}"] = command
    return found


COMMANDS = commands(typer.main.get_command(dashfleet.app))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_is_named(command: str) -> None:
    assert f"dashfleet {command}" in NAMED
    options = {option for parameter in COMMANDS[command].params for option in parameter.opts if option.startswith("--")}
    missing = {option for option in options if not any(option in name for name in NAMED)} - {"--agent", "--help"}
    assert not missing


@pytest.mark.parametrize(
    "kind",
    [
        ActSettings,
        NatsSettings,
        AgentSettings,
        BrokerSettings,
        DashboardSettings,
        IngestorSettings,
        MosquittoSettings,
        WatchSettings,
    ],
)
def test_every_setting_is_named_and_described(kind: type[PartSettings]) -> None:
    assert not set(kind.model_fields) - NAMED
    assert all(field.description for field in kind.model_fields.values())


def test_every_figure_of_the_ledger_is_named() -> None:
    assert not set(Ledger.__slots__) - NAMED
