"""GET /alerts: alerts of the organisation's machines, the newest first."""

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Row

from dashboard.api.operation import ApiModel, ApiRequest, Operation
from dashboard.api.paging import NumberedPage, PageState
from dashboard.api.parameters import MachineName
from schemas.database.paged.problem_pages import list_alert_page


class AlertListParameters(NumberedPage):
    """Which alerts, and which page."""

    state: PageState = Field("active", description="Only alerts that are active, or resolved, or all")
    machine: MachineName | None = Field(None, description="Only alerts of this machine")
    rule: MachineName | None = Field(None, description="Only alerts of the rule with this name")
    severity: Literal["warning", "critical"] | None = Field(None, description="Only alerts of this severity")


class ApiAcknowledgement(ApiModel):
    """Acknowledgement of an alert by a person."""

    by: str
    at: int
    comment: str


class ApiAlert(ApiModel):
    """An alert. `since` is the start of its condition, `until` its end; null while it is active.

    `past`: it lay entirely in the past when it became known. `value` is the reading that began it, in `unit`.
    """

    id: int
    machine: str
    hostname: str | None
    labels: dict[str, str]
    rule: str
    title: str
    severity: str
    detail: str
    value: float | None
    unit: str | None
    since: int
    until: int | None
    past: bool
    acknowledged: ApiAcknowledgement | None
    silenced_until: int | None
    silence_reason: str


class ApiAlerts(ApiModel):
    """A page of alerts. `next`: the value of `after` for the next page; null on the last one."""

    alerts: tuple[ApiAlert, ...]
    next: Annotated[int, Field(ge=1)] | None


def read(request: ApiRequest, wanted: AlertListParameters) -> ApiAlerts:
    """Return a page of alerts."""
    rows = list_alert_page(
        request.engine,
        request.org,
        wanted.keyed(wanted.state),
        machine_name=wanted.machine or "",
        rule=wanted.rule or "",
        severity=wanted.severity or "",
    )
    shown = rows[: wanted.limit]
    return ApiAlerts(alerts=tuple(map(_alert, shown)), next=wanted.next_of(rows))


def _alert(row: Row[Any]) -> ApiAlert:
    acknowledged = None
    if row.acknowledged_at is not None:
        by, comment = row.acknowledged_by or "", row.acknowledged_comment or ""
        acknowledged = ApiAcknowledgement(by=by, at=row.acknowledged_at, comment=comment)
    names = ("id", "machine", "hostname", "rule", "title", "severity", "detail", "value", "unit", "past")
    return ApiAlert(
        **{name: getattr(row, name) for name in names},
        labels=row.labels or {},
        since=row.started_at,
        until=row.ended_at,
        acknowledged=acknowledged,
        silenced_until=row.silenced_until,
        silence_reason=row.silence_reason or "",
    )


OPERATION = Operation(
    id="listAlerts",
    path="/alerts",
    summary="List alerts, the newest first",
    parameters=AlertListParameters,
    answer=ApiAlerts,
    read=read,
)
