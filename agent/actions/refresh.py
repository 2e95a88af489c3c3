"""A fresh sample, now."""

from agent.action import ActionContext, NoArguments, Outcome, action


@action(NoArguments, title="Sample now")
def refresh(_arguments: NoArguments, context: ActionContext) -> Outcome:
    """Measures and publishes, whenever the next sample would have been due."""
    return Outcome.succeeded(f"Sample {context.sample()} was taken.")
