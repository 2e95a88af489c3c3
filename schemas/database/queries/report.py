"""Data of the report on an organisation in a time range. Every query is restricted to the organisation, by name."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, func, select

from schemas.database.queries.fetch import fetch_all, fetch_first, fetch_scalar
from schemas.database.queries.fleet_order import HEALTH_NOW
from schemas.database.queries.machines import select_machines
from schemas.database.tables import hour, machine, org, state, transition
from schemas.fleet.availability import PresenceChange, Span, presence_at

ROWS_AT_ONCE: Final = 5000
READINGS: Final = ("cpu_percent", "memory_percent", "disk_percent")


def list_machine_states(engine: Engine, org_name: str) -> list[Row[Any]]:
    """Return every machine with its key and its current state, by name."""
    known = (state.c.presence, state.c.since_at, HEALTH_NOW.label("health_status"))
    query = select_machines(org_name, machine.c.id, machine.c.name, machine.c.hostname, *known)
    return fetch_all(engine, query.order_by(machine.c.name))


def list_presence_changes(engine: Engine, org_name: str, within: Span) -> dict[int, list[tuple[str, PresenceChange]]]:
    """Return the presence changes in a time range by machine key, oldest first, each after the presence before it."""
    return _changes(engine, org_name, transition.c.at >= within[0], transition.c.at < within[1])


def last_presence_changes(engine: Engine, org_name: str, before: int) -> dict[int, list[tuple[str, PresenceChange]]]:
    """Return the last presence change before a moment by machine key, in the same form."""
    last = select(func.max(transition.c.id)).where(transition.c.at < before).group_by(transition.c.machine_id)
    return _changes(engine, org_name, transition.c.id.in_(last.scalar_subquery()))


def read_machine_presence(
    engine: Engine, machine_id: int, presence: str, since_at: int | None, within: Span
) -> tuple[str, list[PresenceChange]]:
    """Return a machine's presence at the start of a time range, and its changes in it, oldest first.

    `presence` and `since_at` are its current ones.
    """
    columns = (transition.c.before, transition.c.at, transition.c.after, transition.c.reason)
    of_machine = select(*columns).where(transition.c.machine_id == machine_id)
    inside = of_machine.where(transition.c.at >= within[0], transition.c.at < within[1])
    changes = fetch_all(engine, inside.order_by(transition.c.at, transition.c.id))
    newest = (transition.c.at.desc(), transition.c.id.desc())
    last = fetch_first(engine, of_machine.where(transition.c.at < within[0]).order_by(*newest).limit(1))
    first = presence_at(
        within[0],
        last=None if last is None else last.after,
        following=changes[0].before if changes else None,
        presence=presence,
        since_at=since_at,
    )
    return first, [PresenceChange(row.at, row.after, row.reason) for row in changes]


def count_hours(engine: Engine, org_name: str, within: Span) -> int:
    """Return the number of rows of `read_hours`."""
    return fetch_scalar(engine, _hours(org_name, within, func.count())) or 0


def read_hours(engine: Engine, org_name: str, within: Span) -> Iterator[list[Row[Any]]]:
    """Yield the hours of every machine, at most ROWS_AT_ONCE at a time, unsorted."""
    columns = [hour.c[f"{name}_{part}"] for name in READINGS for part in ("count", "avg", "max")]
    query = _hours(org_name, within, hour.c.machine_id, hour.c.at, hour.c.samples, *columns)
    with engine.connect().execution_options(yield_per=ROWS_AT_ONCE) as connection:
        for some in connection.execute(query).partitions():
            yield list(some)


def _hours(org_name: str, within: Span, *columns: ColumnElement[Any]) -> Select[Any]:
    """Start from the machines, so that their hours are found by the primary key."""
    inside = and_(hour.c.machine_id == machine.c.id, hour.c.at >= within[0], hour.c.at < within[1])
    joined = machine.join(org, org.c.id == machine.c.org_id).join(hour, inside)
    return select(*columns).select_from(joined).where(org.c.name == org_name)


def _changes(
    engine: Engine, org_name: str, *conditions: ColumnElement[bool]
) -> dict[int, list[tuple[str, PresenceChange]]]:
    found: dict[int, list[tuple[str, PresenceChange]]] = {}
    columns = (transition.c.machine_id, transition.c.before, transition.c.at, transition.c.after, transition.c.reason)
    query = (
        select(*columns)
        .select_from(transition.join(machine).join(org))
        .where(org.c.name == org_name, *conditions)
        .order_by(transition.c.at, transition.c.id)
    )
    for row in fetch_all(engine, query):
        found.setdefault(row.machine_id, []).append((row.before, PresenceChange(row.at, row.after, row.reason)))
    return found
