"""The action `reboot`: reboot the machine with the command of the setting `reboot_command`.

The machine's owner decides which privileges that command has. Nothing in an order can become an option of it: the delay
is a number, and the notice begins with neither `-` nor `/`.
"""

import math
import os
import re
import subprocess
import sys
from typing import Annotated

from pydantic import Field

from agent.action import ActionContext, Arguments, MachineState, Outcome, StartedOrder, action
from agent.host.calls.child_environment import clean_environment
from runtime.settings.agent import AgentSettings

COMMAND_SECONDS = 30.0
PATIENCE_SECONDS = 600
"""Longest time from the planned shutdown until the machine is back."""

_PLACE = re.compile(r"\{(minutes|seconds|notice)\}")


class RebootArguments(Arguments):
    """Delay, and notice to the users of the machine."""

    delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = 0
    notice: Annotated[str, Field(max_length=200, pattern=r"^([^\x00-\x1f\x7f/-][^\x00-\x1f\x7f]*)?$")] = ""


def command(arguments: RebootArguments, settings: AgentSettings) -> list[str]:
    """Return the argv that reboots this machine, without its empty elements."""
    values = {
        "minutes": str(math.ceil(arguments.delay_seconds / 60)),
        "seconds": str(arguments.delay_seconds),
        "notice": arguments.notice,
    }
    template = settings.reboot_command or _default()
    filled = [_PLACE.sub(lambda place: values[place[1]], element) for element in template]
    return [element for element in filled if element]


def _default() -> list[str]:
    if sys.platform == "win32":
        return ["shutdown", "/r", "/t", "{seconds}", "/c", "{notice}"]
    shutdown = ["shutdown", "-r", "+{minutes}", "{notice}"]
    return shutdown if os.geteuid() == 0 else ["sudo", "-n", *shutdown]


def _is_back(started: StartedOrder, state: MachineState) -> Outcome | None:
    if state.boot != started.boot:
        return Outcome.succeeded("The machine is back.")
    delay = RebootArguments.model_validate(started.order.arguments).delay_seconds
    if state.now > started.at + (delay + PATIENCE_SECONDS) * 1000:
        return Outcome.failed("not-rebooted", "the machine did not go down")
    return None


@action(RebootArguments, title="Reboot the machine", resolve=_is_back)
def reboot(arguments: RebootArguments, context: ActionContext) -> Outcome | None:
    """Start the reboot; the action succeeds when the machine is back."""
    context.set_stop_reason("rebooting")  # first: the system may stop the agent at any moment from here on
    try:
        done = subprocess.run(
            command(arguments, context.settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        context.set_stop_reason("stopped")
        return Outcome.failed("not-started", f"the reboot command could not run: {error}")
    if done.returncode == 0:
        return None
    context.set_stop_reason("stopped")
    output = done.stdout.decode(errors="replace")
    return Outcome("failed", "exit-code", "the reboot command failed", exit_code=done.returncode, output=output)
