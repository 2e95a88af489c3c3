"""Alerts and incidents of an organisation, the newest first.

Invariants:
- Every query is restricted to one organisation, given by name; an incident of the whole system belongs to all that
  existed before its end.
- Rows are sorted by their key, which later rows exceed: late data may change when an alert began, never its place.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, and_, func, or_, select

from schemas.database.queries.fetch import fetch_all
from schemas.database.tables import alert, incident, machine, org


@dataclass(frozen=True, slots=True)
class KeyedRange:
    """A page of alerts or incidents: those with a key below `below` that existed from `start` until before `end`.

    `active`: only those that have not ended (True) or that have (False).
    """

    limit: int
    below: int | None = None
    active: bool | None = None
    start: int | None = None
    end: int | None = None


def list_alert_page(
    engine: Engine, org_name: str, wanted: KeyedRange, *, machine_name: str = "", rule: str = "", severity: str = ""
) -> list[Row[Any]]:
    """Return alerts with machine, hostname and labels; an empty text means all."""
    columns = (alert, machine.c.name.label("machine"), machine.c.hostname, machine.c.labels)
    query = select(*columns).select_from(alert.join(machine).join(org)).where(org.c.name == org_name)
    for column, value in ((machine.c.name, machine_name), (alert.c.rule, rule), (alert.c.severity, severity)):
        query = query.where(column == value) if value else query
    query = query.where(*_within(alert, wanted)).order_by(alert.c.id.desc())
    return fetch_all(engine, query.limit(wanted.limit))


def count_open_alerts(engine: Engine, org_name: str) -> dict[tuple[str, str], int]:
    """Return the number of open alerts by machine and severity."""
    query = (
        select(machine.c.name, alert.c.severity, func.count().label("number"))
        .select_from(alert.join(machine).join(org))
        .where(org.c.name == org_name, alert.c.ended_at.is_(None))
        .group_by(machine.c.name, alert.c.severity)
    )
    return {(row.name, row.severity): row.number for row in fetch_all(engine, query)}


def list_incident_page(engine: Engine, org_name: str, wanted: KeyedRange, *, kind: str = "") -> list[Row[Any]]:
    """Return incidents of the organisation and of the whole system (`org_id` is null)."""
    created_at = select(org.c.created_at).where(org.c.name == org_name).scalar_subquery()
    lived = or_(incident.c.ended_at.is_(None), incident.c.ended_at >= created_at)
    concerned = or_(and_(incident.c.org_id.is_(None), created_at.is_not(None), lived), org.c.name == org_name)
    query = select(incident).select_from(incident.outerjoin(org)).where(concerned, *_within(incident, wanted))
    query = query.where(incident.c.kind == kind) if kind else query
    return fetch_all(engine, query.order_by(incident.c.id.desc()).limit(wanted.limit))


def _within(table: Any, wanted: KeyedRange) -> list[ColumnElement[bool]]:  # noqa: ANN401 - one of two tables
    conditions: list[ColumnElement[bool]] = []
    if wanted.below is not None:
        conditions.append(table.c.id < wanted.below)
    if wanted.active is not None:
        conditions.append(table.c.ended_at.is_(None) if wanted.active else table.c.ended_at.is_not(None))
    if wanted.end is not None:
        conditions.append(table.c.started_at < wanted.end)
    if wanted.start is not None:
        conditions.append(or_(table.c.ended_at.is_(None), table.c.ended_at > wanted.start))
    return conditions
