"""GET /incidents: incidents of the organisation and of the whole system, the newest first."""

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Row

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.paging import NumberedPage, PageState
from dashboard.api.parameters import MachineName
from schemas.contract.alerts import INCIDENT_NAMES_MAX, INCIDENT_SEVERITIES
from schemas.database.paged.problem_pages import list_incident_page


class IncidentListParameters(NumberedPage):
    """Which incidents, and which page."""

    state: PageState = Field("all", description="Only incidents that are active, or resolved, or all")
    kind: MachineName | None = Field(None, description="Only incidents of this kind, such as mass-silence")


class ApiIncident(ApiModel):
    """An incident. `system`: it concerns the whole system, such as a server that could not listen (`blind`).

    `machines` are the names of at most 64 of the `machine_count` machines that it concerns. `until`: null while it is
    active. `target`: the target of a reachability probe that is down, else empty.
    """

    id: int
    kind: str
    severity: str
    since: int
    until: int | None
    system: bool
    machines: Annotated[tuple[str, ...], Field(max_length=INCIDENT_NAMES_MAX)]
    machine_count: int
    target: str


class ApiIncidents(ApiModel):
    """A page of incidents. `next`: the value of `after` for the next page; null on the last one."""

    incidents: tuple[ApiIncident, ...]
    next: Annotated[int, Field(ge=1)] | None


def read(request: ApiRequest, wanted: IncidentListParameters) -> ApiIncidents:
    """Return a page of incidents."""
    rows = list_incident_page(request.engine, request.org, wanted.keyed(wanted.state), kind=wanted.kind or "")
    shown = rows[: wanted.limit]
    return ApiIncidents(incidents=tuple(map(_incident, shown)), next=wanted.next_of(rows))


def _incident(row: Row[Any]) -> ApiIncident:
    details = row.details or {}
    single = details.get("machine")
    names = tuple(map(str, details.get("names") or ([single] if single else ())))
    return ApiIncident(
        id=row.id,
        kind=row.kind,
        severity=INCIDENT_SEVERITIES.get(row.kind, "warning"),
        since=row.started_at,
        until=row.ended_at,
        system=row.org_id is None,
        machines=names[:INCIDENT_NAMES_MAX],
        machine_count=details.get("machines", len(names)),
        target=str(details.get("target", "")),
    )


OPERATION = Operation(
    id="listIncidents",
    path="/incidents",
    summary="List incidents, the newest first",
    parameters=IncidentListParameters,
    answer=ApiIncidents,
    read=read,
)
