"""The action `run`: run a command line that the machine's owner has named in the setting `commands`.

See `schemas.actions.named_commands`.
"""

import os
from typing import Annotated, Any

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.host.calls import process_reaper
from agent.orders.reaped_command import run_command
from runtime.settings.agent import AgentSettings
from schemas.actions.named_commands import VALUE_MAX, CommandLine


class RunArguments(Arguments):
    """Name of the command, and values of its parameters."""

    command: Annotated[str, Field(max_length=63)]
    parameters: Annotated[dict[str, Annotated[str, Field(max_length=VALUE_MAX)]], Field(max_length=16)] = Field(
        default_factory=dict
    )


def argv(arguments: RunArguments, settings: AgentSettings) -> list[str]:
    """Return the command line with the parameter values. Raises ValueError when the machine has no such command."""
    if arguments.command not in settings.commands:
        raise ValueError("this machine has no command of that name")
    return settings.commands[arguments.command].fill(arguments.parameters)


def _check(arguments: RunArguments, settings: AgentSettings) -> None:
    argv(arguments, settings)


def _describe(settings: AgentSettings) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["command"],
        "properties": {"command": {"enum": sorted(settings.commands)}, "parameters": {"type": "object"}},
        "additionalProperties": False,
    }
    alternatives = [_alternative(name, line) for name, line in sorted(settings.commands.items())]
    return {**schema, "oneOf": alternatives} if alternatives else schema


def _alternative(name: str, line: CommandLine) -> dict[str, Any]:
    values = {
        parameter: {"type": "string", "pattern": f"^(?:{allowed.pattern})$", "title": allowed.title or parameter}
        for parameter, allowed in line.parameters.items()
    }
    parameters = {"type": "object", "properties": values, "required": sorted(values), "additionalProperties": False}
    return {"title": line.title or name, "properties": {"command": {"const": name}, "parameters": parameters}}


@action(
    RunArguments,
    title="Run a command",
    describe=_describe,
    check=_check,
    seconds=86_400 + 2 * process_reaper.END_SECONDS,  # the command's own timeout is shorter
)
def run(arguments: RunArguments, context: ActionContext) -> Outcome:
    """Run the command without a shell; end all its processes when it exceeds its time limit."""
    if os.name != "posix":
        return Outcome.failed("unsupported", "commands run on Linux and macOS only")
    line = context.settings.commands[arguments.command]
    return run_command(argv(arguments, context.settings), line.timeout_seconds)
