"""The action `ping`: report when the order was issued, received and answered."""

import json
from typing import Annotated

from pydantic import Field

from agent.action import ActionContext, Arguments, Outcome, action
from runtime.version import VERSION


class PingArguments(Arguments):
    """Text that is returned with the answer."""

    echo: Annotated[str, Field(max_length=256)] = ""


@action(PingArguments, title="Ping")
def ping(arguments: PingArguments, context: ActionContext) -> Outcome:
    """Return the times in milliseconds; all but `issued_at` are the machine's clock."""
    facts = {
        "echo": arguments.echo,
        "issued_at": context.order.issued_at,
        "received_at": context.received_at,
        "answered_at": context.now(),
        "agent_version": VERSION,
    }
    return Outcome.succeeded("The machine is there.", output=json.dumps(facts))
