"""An action whose executions can be counted."""

import os
import time

from agent.action import ActionContext, Arguments, Outcome, action


class Line(Arguments):
    """File for the order's id, and duration of the action."""

    file: str
    seconds: float


@action(Line, title="Append")
def append(arguments: Line, context: ActionContext) -> Outcome:
    """Append the order's id, in one write, and sleep."""
    descriptor = os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{context.order.id}\n".encode())
    os.close(descriptor)
    time.sleep(arguments.seconds)
    return Outcome.succeeded()
