"""A command as the API shows it, in the list and alone."""

from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row

from dashboard.api.operation import ApiModel
from schemas.contract.commands import CommandState


class ApiCommand(ApiModel):
    """A command: an action on one machine, and what became of it.

    `batch` is shared by the commands of one selection. `actor` is the person, as the principal stated. `ended_at` is
    null until the command has a final state or timed out.
    """

    id: str
    machine: str
    action: str
    arguments: dict[str, JsonValue]
    state: CommandState
    reason: str
    detail: str
    exit_code: int | None
    attempts: int
    request: str
    batch: str
    principal: str
    actor: str
    created_at: int
    sent_at: int | None
    running_at: int | None
    ended_at: int | None
    expires_at: int


def command_fields(row: Row[Any]) -> dict[str, Any]:
    """Return the fields of ApiCommand."""
    return {name: getattr(row, "request_id" if name == "request" else name) for name in ApiCommand.model_fields}
