"""The report's SQL, on an engine that cannot write. Every query takes the organisation, by its name."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, func, or_, select

from schemas.database.tables import hour, incident, machine, org, state, stream, transition
from schemas.fleet.availability import Change, Span
from schemas.fleet.ledger import Ledger

ROWS_AT_ONCE: Final = 5000
READINGS: Final = ("cpu_percent", "memory_percent", "disk_percent")


def is_known(engine: Engine, org_name: str) -> bool:
    """Whether there is such an organisation."""
    with engine.connect() as connection:
        return connection.scalar(select(org.c.id).where(org.c.name == org_name)) is not None


def machines(engine: Engine, org_name: str) -> list[Row[Any]]:
    """Every machine by its name: its key, and what is known of it now."""
    known = (state.c.presence, state.c.since_at, state.c.health_status, state.c.health_score)
    query = _of(org_name, machine.c.id, machine.c.name, machine.c.hostname, *known).order_by(machine.c.name)
    with engine.connect() as connection:
        return list(connection.execute(query))


def changes(engine: Engine, org_name: str, within: Span) -> dict[int, list[tuple[str, Change]]]:
    """By machine its changes of presence in this time, the oldest first, each with what it was before."""
    return _changes(engine, org_name, transition.c.at >= within[0], transition.c.at < within[1])


def last_changes(engine: Engine, org_name: str, before: int) -> dict[int, list[tuple[str, Change]]]:
    """By machine its last change of presence before a moment, in a list of one."""
    last = (
        select(func.max(transition.c.id))
        .where(transition.c.at < before)
        .group_by(transition.c.machine_id)
        .scalar_subquery()
    )
    return _changes(engine, org_name, transition.c.id.in_(last))


def incidents(engine: Engine, org_name: str, within: Span) -> list[Row[Any]]:
    """The organisation's incidents and the whole system's that touched this time, the oldest first."""
    query = (
        select(incident.c.kind, incident.c.started_at, incident.c.ended_at, incident.c.details)
        .select_from(incident.outerjoin(org))
        .where(or_(incident.c.org_id.is_(None), org.c.name == org_name))
        .where(incident.c.started_at < within[1], or_(incident.c.ended_at.is_(None), incident.c.ended_at > within[0]))
        .order_by(incident.c.started_at, incident.c.id)
    )
    with engine.connect() as connection:
        return list(connection.execute(query))


def ledgers(engine: Engine, org_name: str) -> dict[int, Ledger]:
    """By machine where its samples are."""
    found: dict[int, Ledger] = {}
    query = select(stream).select_from(stream.join(machine).join(org)).where(org.c.name == org_name)
    with engine.connect() as connection:
        for row in connection.execute(query):
            found.setdefault(row.machine_id, Ledger()).add(row)
    return found


def count_hours(engine: Engine, org_name: str, within: Span) -> int:
    """How many rows `hours` will give."""
    with engine.connect() as connection:
        return connection.scalar(_hours(org_name, within, func.count())) or 0


def hours(engine: Engine, org_name: str, within: Span) -> Iterator[list[Row[Any]]]:
    """Every machine's hours, some at a time, in no order."""
    columns = [hour.c[f"{name}_{part}"] for name in READINGS for part in ("count", "avg", "max")]
    query = _hours(org_name, within, hour.c.machine_id, hour.c.at, hour.c.samples, *columns)
    with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
        for some in connection.execute(query).partitions():
            yield list(some)


def _of(org_name: str, *columns: ColumnElement[Any]) -> Select[Any]:
    joined = machine.join(org, org.c.id == machine.c.org_id).outerjoin(state, state.c.machine_id == machine.c.id)
    return select(*columns).select_from(joined).where(org.c.name == org_name)


def _hours(org_name: str, within: Span, *columns: ColumnElement[Any]) -> Select[Any]:
    """Machine by machine in SQL, so that each is found by the key of the table."""
    inside = and_(hour.c.machine_id == machine.c.id, hour.c.at >= within[0], hour.c.at < within[1])
    joined = machine.join(org, org.c.id == machine.c.org_id).join(hour, inside)
    return select(*columns).select_from(joined).where(org.c.name == org_name)


def _changes(engine: Engine, org_name: str, *conditions: ColumnElement[bool]) -> dict[int, list[tuple[str, Change]]]:
    found: dict[int, list[tuple[str, Change]]] = {}
    columns = (transition.c.machine_id, transition.c.before, transition.c.at, transition.c.after, transition.c.reason)
    query = (
        select(*columns)
        .select_from(transition.join(machine).join(org))
        .where(org.c.name == org_name, *conditions)
        .order_by(transition.c.at, transition.c.id)
    )
    with engine.connect() as connection:
        for key, before, *change in connection.execute(query):
            found.setdefault(key, []).append((before, Change(*change)))
    return found
