"""GET /commands/{command}: one command with its output and the changes of its state."""

from typing import Any

from sqlalchemy import Row

from dashboard.api.command_models import ApiCommand, command_fields
from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.parameters import Parameters
from dashboard.api.problem import not_found
from schemas.database.paged.command_pages import find_whole_command
from schemas.database.queries.commands import list_command_transitions


class CommandParameters(Parameters):
    """The operation has no parameters."""


class ApiCommandChange(ApiModel):
    """A change of a command's state. `before` is empty for the first one; `by` is a principal, the machine or the
    ingestor.
    """

    at: int
    before: str
    after: str
    by: str
    reason: str
    detail: str


class ApiCommandDetails(ApiCommand):
    """A command with its output, null if it has none, and its history, the oldest change first."""

    output: str | None
    output_truncated: bool
    history: tuple[ApiCommandChange, ...]


def read(request: ApiRequest, _parameters: CommandParameters) -> ApiCommandDetails:
    """Return the command."""
    id_ = request.names["command"]
    row = find_whole_command(request.engine, request.org, id_)
    if row is None:
        raise not_found("command")
    changes = list_command_transitions(request.engine, request.org, id_)
    more = {"output": row.output, "output_truncated": row.output_truncated, "history": tuple(map(_change, changes))}
    return ApiCommandDetails(**command_fields(row), **more)


def _change(row: Row[Any]) -> ApiCommandChange:
    return ApiCommandChange(**{name: getattr(row, name) for name in ApiCommandChange.model_fields})


OPERATION = Operation(
    id="getCommand",
    path="/commands/{command}",
    summary="Get one command with its output and history",
    parameters=CommandParameters,
    answer=ApiCommandDetails,
    read=read,
)
