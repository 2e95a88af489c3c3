"""The action `restart`: restart the agent.

The new process keeps the settings of the start: an error in an edited file cannot put the machine out of reach.
"""

from agent.action import ActionContext, MachineState, NoArguments, Outcome, StartedOrder, action
from runtime.version import VERSION

PATIENCE_MILLISECONDS = 120_000


def _is_back(started: StartedOrder, state: MachineState) -> Outcome | None:
    if state.process != started.process:
        return Outcome.succeeded(f"The agent, version {VERSION}, is back.")
    if state.now > started.at + PATIENCE_MILLISECONDS:
        return Outcome.failed("not-restarted", "the agent is still the same process")
    return None


@action(NoArguments, title="Restart the agent", resolve=_is_back)
def restart(_arguments: NoArguments, context: ActionContext) -> None:
    """Publish the goodbye and replace the process by a new one, with the settings of its start."""
    context.restart("restarting")
