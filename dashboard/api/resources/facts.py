"""GET /machines/{machine}/facts: the lists that one machine states, such as mounts, containers and services."""

from typing import Annotated

from pydantic import Field

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.parameters import Parameters
from dashboard.api.problem import not_found
from schemas.contract.facts import FACT_KINDS_MAX, Judgement
from schemas.contract.messages import MetricName
from schemas.database.facts.fact_queries import list_facts
from schemas.database.paged.machine_pages import find_machine_key


class FactParameters(Parameters):
    """Which lists."""

    kind: Annotated[tuple[MetricName, ...], Field(max_length=FACT_KINDS_MAX)] = Field(
        (), description="Only lists of this kind, such as containers; may be repeated"
    )


class ApiFact(ApiModel):
    """An item of a list. `health` is the machine's judgement; null where there is nothing to judge.

    `since` is when the item appeared, or its health, a text or a flag changed.
    """

    health: Judgement | None
    since: int
    fields: dict[str, str | bool | float | None]


class ApiFactList(ApiModel):
    """A list by its key, the worst items first. `truncated` is the number of items that the machine left out."""

    kind: str
    at: int
    truncated: int
    items: dict[str, ApiFact]


class ApiFacts(ApiModel):
    """The lists of a machine by kind."""

    machine: str
    facts: tuple[ApiFactList, ...]


def read(request: ApiRequest, wanted: FactParameters) -> ApiFacts:
    """Return the lists."""
    name = request.names["machine"]
    if find_machine_key(request.engine, request.org, name) is None:
        raise not_found("machine")
    found = list_facts(request.engine, name, org_name=request.org)
    chosen = [each for each in found if not wanted.kind or each["kind"] in wanted.kind]
    return ApiFacts(machine=name, facts=tuple(map(ApiFactList.model_validate, chosen)))


OPERATION = Operation(
    id="listFacts",
    path="/machines/{machine}/facts",
    summary="List the facts of one machine: mounts, containers, services and others",
    parameters=FactParameters,
    answer=ApiFacts,
    read=read,
)
