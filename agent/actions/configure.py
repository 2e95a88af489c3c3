"""Another interval, other labels, collectors off or on."""

from agent.action import ActionContext, Begun, Outcome, Situation, action
from agent.configuration import TRIAL_SECONDS, Wish

_PATIENCE_MILLISECONDS = round(10 * TRIAL_SECONDS * 1000)


def _proved(begun: Begun, situation: Situation) -> Outcome | None:
    """Once the agent has connected with it, or gone back to what was before."""
    if situation.configured_at == begun.order.issued_at:
        return Outcome.succeeded("The configuration is in force.")
    if situation.configured_at > begun.order.issued_at:
        return Outcome.failed("superseded", "another one that was ordered later is in force")
    if situation.reverted_at == begun.order.issued_at:
        return Outcome.failed("reverted", "the agent could not connect with it and went back to the one before")
    if situation.now > begun.at + _PATIENCE_MILLISECONDS:
        return Outcome.failed("interrupted", "it is not in force, and nobody knows why")
    return None


@action(Wish, title="Configure", settle=_proved)
def configure(arguments: Wish, context: ActionContext) -> Outcome | None:
    """Takes it up at once, and connects anew to prove that it can."""
    problem = context.configure(arguments)
    return Outcome.failed("not-taken-up", problem) if problem else None
