"""The action `configure`: apply another interval, other labels, other collectors, probes of the operator."""

from agent.action import ActionContext, MachineState, Outcome, StartedOrder, action
from agent.configuration import TRIAL_SECONDS, RequestedConfiguration
from runtime.settings.agent import AgentSettings
from runtime.settings.probe import check_requested

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


def _check(arguments: RequestedConfiguration, settings: AgentSettings) -> None:
    check_requested(arguments.probes, settings.probe_targets, settings.detail_interval_seconds)


@action(RequestedConfiguration, title="Configure", resolve=_proved, check=_check)
def configure(arguments: RequestedConfiguration, context: ActionContext) -> Outcome | None:
    """Apply the configuration at once, and reconnect to prove that the agent can."""
    problem = context.configure(arguments)
    return Outcome.failed("not-taken-up", problem) if problem else None
