"""The machine, begun again.

The command is a setting (`reboot_command`): its owner decides by what right the agent may do this. Nothing of an order
can become an option of it: the delay is a number, and the notice begins with neither `-` nor `/`.
"""

import math
import os
import re
import subprocess
import sys
from typing import Annotated

from pydantic import Field

from agent.action import ActionContext, Arguments, Begun, Outcome, Situation, action
from agent.orders.child_environment import clean_environment
from runtime.settings.agent import AgentSettings

COMMAND_SECONDS = 30.0
PATIENCE_SECONDS = 600
"""From the moment when the machine should go down until it must be back."""

_PLACE = re.compile(r"\{(minutes|seconds|notice)\}")


class RebootArguments(Arguments):
    """When, and what people at the machine are told."""

    delay_seconds: Annotated[int, Field(ge=0, le=86_400)] = 0
    notice: Annotated[str, Field(max_length=200, pattern=r"^([^\x00-\x1f\x7f/-][^\x00-\x1f\x7f]*)?$")] = ""


def command(arguments: RebootArguments, settings: AgentSettings) -> list[str]:
    """The argv that reboots this machine. An element that stays empty is left out."""
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


def _is_back(begun: Begun, situation: Situation) -> Outcome | None:
    """Another boot tells it."""
    if situation.boot != begun.boot:
        return Outcome.succeeded("The machine is back.")
    delay = RebootArguments.model_validate(begun.order.arguments).delay_seconds
    if situation.now > begun.at + (delay + PATIENCE_SECONDS) * 1000:
        return Outcome.failed("not-rebooted", "the machine did not go down")
    return None


@action(RebootArguments, title="Reboot the machine", settle=_is_back)
def reboot(arguments: RebootArguments, context: ActionContext) -> Outcome | None:
    """Tells the system to go down, and succeeds when the machine is back."""
    context.expect("rebooting")  # first: the system may stop the agent at any moment from here on
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
        context.expect("stopped")
        return Outcome.failed("not-started", f"the reboot command could not run: {error}")
    if done.returncode == 0:
        return None
    context.expect("stopped")
    words = done.stdout.decode(errors="replace")
    return Outcome("failed", "exit-code", "the reboot command failed", exit_code=done.returncode, output=words)
