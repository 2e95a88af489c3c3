"""The action `service`: start, stop or restart a service that matches the setting `controlled_services`.

The machine's owner decides which privileges the command of the setting `service_command` has. Nothing in an order can
become an option of it: the operation is one of three words, and a name begins with neither `-` nor `/`.
"""

import os
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.host.calls import process_reaper
from agent.host.calls.program import find_program
from agent.host.selection import Selection, describe_names
from agent.host.service_manager import BOOTED
from agent.orders.reaped_command import run_command
from runtime.settings.agent import AgentSettings

COMMAND_SECONDS: Final = 120.0


class ServiceArguments(Arguments):
    """Name of the service, such as `nginx.service`, and what to do with it."""

    name: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9_@:.\\][A-Za-z0-9_@:.\\-]*$", title="Service")]
    operation: Annotated[Literal["start", "stop", "restart"], Field(title="Operation")]


def command(arguments: ServiceArguments, settings: AgentSettings) -> list[str]:
    """Return the argv that does it; empty where no service manager is known."""
    values = {"{service}": arguments.name, "{operation}": arguments.operation}
    return [values.get(element, element) for element in settings.service_command or _default()]


def _default() -> list[str]:
    if BOOTED.is_dir():
        found = ["systemctl", "--no-ask-password", "{operation}", "{service}"]
    elif find_program("rc-service") is not None:
        found = ["rc-service", "{service}", "{operation}"]
    else:
        return []
    return found if os.geteuid() == 0 else ["sudo", "-n", *found]


def _check(arguments: ServiceArguments, settings: AgentSettings) -> None:
    if not Selection(settings.controlled_services).names(arguments.name):
        raise ValueError("the owner of this machine does not permit this service (controlled_services)")


def _describe(settings: AgentSettings) -> dict[str, Any]:
    return describe_names(ServiceArguments.model_json_schema(), settings.controlled_services)


@action(
    ServiceArguments,
    title="Control a service",
    describe=_describe,
    check=_check,
    seconds=COMMAND_SECONDS + 2 * process_reaper.END_SECONDS,
)
def service(arguments: ServiceArguments, context: ActionContext) -> Outcome:
    """Run the command, and wait until the service manager has done it."""
    if os.name != "posix":
        return Outcome.failed("unsupported", "services are controlled on Linux and macOS only")
    argv = command(arguments, context.settings)
    if not argv:
        return Outcome.failed("unsupported", "no service manager is known here: set service_command")
    program = argv[0] if argv[0].startswith("/") else find_program(argv[0])
    if program is None:
        return Outcome.failed("not-started", f"there is no program {argv[0]}")
    return run_command([program, *argv[1:]], COMMAND_SECONDS)
