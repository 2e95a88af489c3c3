"""The action `configure`: apply another interval, other labels, other collectors."""

from agent.action import ActionContext, MachineState, Outcome, StartedOrder, action
from agent.configuration import TRIAL_SECONDS, RequestedConfiguration

_PATIENCE_MILLISECONDS = round(10 * TRIAL_SECONDS * 1000)


def _proved(started: StartedOrder, state: MachineState) -> Outcome | None:
    if state.configured_at == started.order.issued_at:
        return Outcome.succeeded("The configuration is in force.")
    if state.configured_at > started.order.issued_at:
        return Outcome.failed("superseded", "another one that was ordered later is in force")
    if state.reverted_at == started.order.issued_at:
        return Outcome.failed("reverted", "the agent could not connect with it and reverted to the one before")
    if state.now > started.at + _PATIENCE_MILLISECONDS:
        return Outcome.failed("interrupted", "it is not in force, for an unknown reason")
    return None


@action(RequestedConfiguration, title="Configure", resolve=_proved)
def configure(arguments: RequestedConfiguration, context: ActionContext) -> Outcome | None:
    """Apply the configuration at once, and reconnect to prove that the agent can."""
    problem = context.configure(arguments)
    return Outcome.failed("not-taken-up", problem) if problem else None
