"""The agent, begun again."""

from agent.action import ActionContext, Begun, NoArguments, Outcome, Situation, action
from runtime.version import VERSION

PATIENCE_MILLISECONDS = 120_000


def _is_back(begun: Begun, situation: Situation) -> Outcome | None:
    """Another process tells it: the one that was to restart is gone."""
    if situation.process != begun.process:
        return Outcome.succeeded(f"The agent, version {VERSION}, is back.")
    if situation.now > begun.at + PATIENCE_MILLISECONDS:
        return Outcome.failed("not-restarted", "the agent is still the same process")
    return None


@action(NoArguments, title="Restart the agent", settle=_is_back)
def restart(_arguments: NoArguments, context: ActionContext) -> None:
    """Says goodbye and replaces the process by a new one, with the settings of its start."""
    context.leave("restarting")
