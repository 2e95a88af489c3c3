"""GET /machines: the machines of the organisation with their newest values, by name."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from dashboard.api.machine_models import ApiMachine, HealthName, PresenceName, machine_fields
from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.parameters import DIGITS, VALUES_MAX, Flag, Label, MachineName, Parameters, SearchText
from schemas.database.paged.machine_pages import list_machine_page
from schemas.database.queries.heartbeat import find_trouble
from schemas.database.queries.machines import Filters

LIMIT_MAX = 10_000


class MachineListParameters(Parameters):
    """Which machines, and which page."""

    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX), DIGITS] = Field(500, description="Most machines to return")
    after: MachineName | None = Field(None, description="The `next` of the page before: machines that follow this name")
    search: SearchText = Field("", description="Words that must occur in name, hostname, system, version or a label")
    presence: Annotated[tuple[PresenceName, ...], Field(max_length=VALUES_MAX)] = Field(
        (), description="Only machines with one of these presences; retired machines only if named here"
    )
    health: Annotated[tuple[HealthName, ...], Field(max_length=VALUES_MAX)] = Field(
        (), description="Only machines with one of these health statuses"
    )
    label: Annotated[tuple[Label, ...], Field(max_length=VALUES_MAX)] = Field(
        (), description="Only machines with this label, key=value; values of one key are alternatives"
    )
    attention: Flag = Field(False, description="Only machines that need attention")


class ApiMachines(ApiModel):
    """A page of machines. `next`: the value of `after` for the next page; null on the last one.

    `trouble`: why no value is current, such as an ingestor that does not run; empty if all is well.
    """

    machines: tuple[ApiMachine, ...]
    next: str | None
    trouble: str


def read(request: ApiRequest, wanted: MachineListParameters) -> Mapping[str, Any]:
    """Return a page of machines, the fields of ApiMachines."""
    filters = Filters(
        search=wanted.search,
        presences=wanted.presence,
        healths=wanted.health,
        labels=wanted.label,
        attention=wanted.attention,
    )
    trouble = find_trouble(request.engine, now=request.now)
    rows = list_machine_page(request.engine, request.org, filters, after=wanted.after or "", limit=wanted.limit + 1)
    shown = rows[: wanted.limit]
    return {
        "machines": [machine_fields(row, trouble) for row in shown],
        "next": shown[-1].name if len(rows) > len(shown) else None,
        "trouble": trouble,
    }


OPERATION = Operation(
    id="listMachines",
    path="/machines",
    summary="List machines with their newest values",
    parameters=MachineListParameters,
    answer=ApiMachines,
    read=read,
)
