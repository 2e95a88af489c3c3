"""The action `container`: start, stop or restart a container that matches the setting `controlled_containers`."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from agent.host.container_control import CALL_SECONDS, control, find_container
from agent.host.selection import Selection, describe_names
from runtime.settings.agent import AgentSettings


class ContainerArguments(Arguments):
    """Name of the container, and what to do with it."""

    name: Annotated[str, Field(min_length=1, max_length=200, title="Container")]
    operation: Annotated[Literal["start", "stop", "restart"], Field(title="Operation")]


def _check(arguments: ContainerArguments, settings: AgentSettings) -> None:
    if not Selection(settings.controlled_containers).names(arguments.name):
        raise ValueError("the owner of this machine does not permit this container (controlled_containers)")


def _describe(settings: AgentSettings) -> dict[str, Any]:
    return describe_names(ContainerArguments.model_json_schema(), settings.controlled_containers)


@action(ContainerArguments, title="Control a container", describe=_describe, check=_check, seconds=2 * CALL_SECONDS)
def container(arguments: ContainerArguments, context: ActionContext) -> Outcome:
    """Ask the engine of the container; a container that is in the wanted state already is a success."""
    sockets = [str(path) for path in context.settings.container_sockets if Path(path).is_socket()]
    if not sockets:
        return Outcome.failed("unsupported", "this machine has no socket of Docker or Podman")
    try:
        found = find_container(sockets, arguments.name)
        if found is None:
            return Outcome.failed("missing", "there is no container of that name")
        changed = control(*found, arguments.operation)
    except OSError as error:
        return Outcome.failed("refused", f"the engine did not do it: {error.strerror or error}")
    done = {"start": "started", "stop": "stopped", "restart": "restarted"}[arguments.operation]
    return Outcome.succeeded(f"The container was {done}." if changed else f"The container was {done} before.")
