"""The action `run`: run a command line that the machine's owner has named in the setting `commands`.

See `schemas.actions.named_commands`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.host.calls.child_environment import clean_environment
from agent.orders import process_reaper
from runtime.settings.agent import AgentSettings
from schemas.actions.named_commands import VALUE_MAX, CommandLine
from schemas.contract.commands import OUTPUT_MAX


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
    answer, output = _run_reaped(argv(arguments, context.settings), line.timeout_seconds)
    return _outcome(line, answer, output)


def _run_reaped(command: list[str], seconds: float) -> tuple[dict[str, Any], bytes]:
    """Run a command under `process_reaper`; return the reaper's answer and the command's output."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(process_reaper.__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=clean_environment(),
    )
    request = json.dumps({"argv": command, "seconds": seconds, "output_max": OUTPUT_MAX}).encode() + b"\n"
    with process:
        if process.stdin is None or process.stdout is None:
            raise OSError("the process reaper has no pipes")
        process.stdin.write(request)
        process.stdin.flush()  # it stays open: its end tells the reaper that the agent is gone
        answer, _, output = process.stdout.read().partition(b"\n")
    return json.loads(answer or b"{}"), output


def _outcome(line: CommandLine, answer: dict[str, Any], output: bytes) -> Outcome:
    printed, cut = output.decode("utf-8", "replace"), bool(answer.get("truncated"))
    code = answer.get("exit_code")
    match answer.get("end"):
        case "exited" if code == 0:
            return Outcome("succeeded", exit_code=0, output=printed, output_truncated=cut)
        case "exited":
            return Outcome("failed", "exit-code", f"it ended with exit code {code}", code, printed, cut)
        case "timeout":
            left = answer.get("survivors", 0)
            detail = f"it did not end within {line.timeout_seconds:g} s and was killed"
            detail += f"; {left} of its processes could not be" if left else ""
            return Outcome("failed", "timeout", detail, code, printed, cut)
        case "not-started":
            return Outcome.failed("not-started", f"it could not be started: {answer.get('error')}")
    return Outcome.failed("interrupted", "the process reaper ended")
