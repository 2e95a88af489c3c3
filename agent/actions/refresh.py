"""The action `refresh`: take a sample now."""

from agent.action import ActionContext, NoArguments, Outcome, action


@action(NoArguments, title="Sample now")
def refresh(_arguments: NoArguments, context: ActionContext) -> Outcome:
    """Sample and publish, independently of the schedule."""
    return Outcome.succeeded(f"Sample {context.sample()} was taken.")
