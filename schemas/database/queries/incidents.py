"""Incidents of an organisation and of the whole system."""

from typing import Any, Final

from sqlalchemy import Engine, Row, Select, and_, or_, select

from schemas.database.queries.fetch import fetch_all
from schemas.database.tables import incident, org
from schemas.fleet.availability import Span

BLIND: Final = "blind"
"""Kind of the incident that the ingestor could not listen."""

_asking = org.alias("asking")


def list_incidents_within(engine: Engine, org_name: str, within: Span) -> list[Row[Any]]:
    """Return the incidents that overlap a time range, oldest first."""
    start, end = within
    overlaps = (incident.c.started_at < end, or_(incident.c.ended_at.is_(None), incident.c.ended_at > start))
    return fetch_all(engine, _incidents(org_name).where(*overlaps).order_by(incident.c.started_at, incident.c.id))


def list_blind_spans(engine: Engine, org_name: str, within: Span) -> list[Span]:
    """Return when the server could not listen, within a time range; a time that has not ended ends with the range."""
    found = list_incidents_within(engine, org_name, within)
    return [(row.started_at, within[1] if row.ended_at is None else row.ended_at) for row in found if row.kind == BLIND]


def _incidents(org_name: str) -> Select[Any]:
    """An incident of the whole system that ended before the organisation was created did not concern it."""
    created_at = select(_asking.c.created_at).where(_asking.c.name == org_name).scalar_subquery()
    lived = or_(incident.c.ended_at.is_(None), incident.c.ended_at >= created_at)
    return (
        select(incident.c.kind, incident.c.started_at, incident.c.ended_at, incident.c.details)
        .select_from(incident.outerjoin(org))
        .where(or_(and_(incident.c.org_id.is_(None), lived), org.c.name == org_name))
    )
