"""GET /commands: commands of the organisation, the newest first."""

from typing import Annotated

from pydantic import Field

from dashboard.api.command_models import ApiCommand, command_fields
from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.paging import LIMIT, Limit
from dashboard.api.parameters import MachineName, Parameters
from schemas.contract.commands import CommandState
from schemas.contract.messages import RandomId
from schemas.database.paged.command_pages import list_command_page

CommandPosition = Annotated[str, Field(pattern=r"^[0-9]{1,15}-[0-9a-f]{32}$")]


class CommandListParameters(Parameters):
    """Which commands, and which page."""

    limit: Limit = Field(LIMIT, description="Most commands to return")
    after: CommandPosition | None = Field(None, description="The `next` of the page before")
    machine: MachineName | None = Field(None, description="Only commands of this machine")
    state: CommandState | None = Field(None, description="Only commands in this state")
    batch: RandomId | None = Field(None, description="Only commands of this batch")


class ApiCommands(ApiModel):
    """A page of commands. `next`: the value of `after` for the next page; null on the last one."""

    commands: tuple[ApiCommand, ...]
    next: CommandPosition | None


def read(request: ApiRequest, wanted: CommandListParameters) -> ApiCommands:
    """Return a page of commands."""
    at, _, id_ = (wanted.after or "").partition("-")
    rows = list_command_page(
        request.engine,
        request.org,
        machine_name=wanted.machine or "",
        state=wanted.state or "",
        batch=wanted.batch or "",
        after=(int(at), id_) if wanted.after else None,
        limit=wanted.limit + 1,
    )
    shown = rows[: wanted.limit]
    following = f"{shown[-1].created_at}-{shown[-1].id}" if len(rows) > len(shown) else None
    return ApiCommands(commands=tuple(ApiCommand(**command_fields(row)) for row in shown), next=following)


OPERATION = Operation(
    id="listCommands",
    path="/commands",
    summary="List commands, the newest first",
    parameters=CommandListParameters,
    answer=ApiCommands,
    read=read,
)
