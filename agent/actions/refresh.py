"""A fresh sample, now."""

from agent.action import Context, NoArguments, Outcome, action


@action(NoArguments, title="Sample now")
def refresh(_arguments: NoArguments, context: Context) -> Outcome:
    """Measures and publishes, whenever the next sample would have been due."""
    return Outcome.succeeded(f"Sample {context.sample()} was taken.")
