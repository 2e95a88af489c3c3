"""Dead letters: messages that were rejected, newest first."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select

from schemas.contract.ack import WRONG_VERSION
from schemas.database.queries.fetch import fetch_mappings
from schemas.database.tables import dead_letter, machine, org, state

INCOMPATIBLE_SECONDS = 3600.0
"""Time for which a message in another version of the contract counts."""

_COLUMNS = (
    dead_letter.c.id,
    dead_letter.c.org,
    dead_letter.c.machine,
    dead_letter.c.topic,
    dead_letter.c.reason,
    dead_letter.c.detail,
    dead_letter.c.size_bytes,
    dead_letter.c.received_at.label("at"),
)


def list_dead_letters(
    engine: Engine, *, org_name: str | None = None, machine_name: str | None = None, limit: int
) -> list[dict[str, Any]]:
    """Return dead letters without their payload, of all senders or of some."""
    query = select(*_COLUMNS).where(*_of(org_name, machine_name)).order_by(dead_letter.c.id.desc()).limit(limit)
    return fetch_mappings(engine, query)


def find_dead_letter(engine: Engine, id_: int) -> dict[str, Any] | None:
    """Return one dead letter with the start of its payload, or None."""
    query = select(*_COLUMNS, dead_letter.c.payload_start).where(dead_letter.c.id == id_)
    return next(iter(fetch_mappings(engine, query)), None)


def list_org_dead_letters(
    engine: Engine, org_name: str, *, machine_name: str | None = None, limit: int
) -> list[dict[str, Any]]:
    """Return dead letters of one organisation, or of one of its machines, without their payload."""
    return list_dead_letters(engine, org_name=org_name, machine_name=machine_name, limit=limit)


def find_org_dead_letter(engine: Engine, org_name: str, id_: int) -> dict[str, Any] | None:
    """Return one dead letter of the organisation with the start of its payload, or None."""
    found = find_dead_letter(engine, id_)
    return found if found is not None and found["org"] == org_name else None


def count_dead_letters(engine: Engine, org_name: str, machine_name: str) -> int:
    """Return the number of dead letters of a machine."""
    query = select(func.count()).select_from(dead_letter).where(*_of(org_name, machine_name))
    with engine.connect() as connection:
        return connection.scalar(query) or 0


def find_incompatible(
    engine: Engine, *, now: int, org_name: str | None = None, machine_name: str | None = None
) -> dict[tuple[str, str], str]:
    """Return the machines (organisation, id) whose agents speak another version of the contract, with a sentence.

    Their last message was rejected for that in the last hour. `now`: milliseconds of the server's clock.
    """
    recent = dead_letter.c.received_at > now - round(INCOMPATIBLE_SECONDS * 1000)
    last = select(func.max(dead_letter.c.id)).where(
        dead_letter.c.reason == WRONG_VERSION, recent, *_of(org_name, machine_name)
    )
    last = last.group_by(dead_letter.c.org, dead_letter.c.machine)
    stored_at = state.c.sampled_at + func.coalesce(state.c.clock_offset_milliseconds, 0)
    query = (
        select(dead_letter.c.org, dead_letter.c.machine, dead_letter.c.detail)
        .join(org, org.c.name == dead_letter.c.org)
        .join(machine, (machine.c.org_id == org.c.id) & (machine.c.name == dead_letter.c.machine))
        .outerjoin(state, state.c.machine_id == machine.c.id)
        .where(dead_letter.c.id.in_(last), dead_letter.c.received_at > func.coalesce(stored_at, 0))
    )
    with engine.connect() as connection:
        return {(row.org, row.machine): row.detail for row in connection.execute(query)}


def find_org_incompatible(engine: Engine, org_name: str, machine_name: str, now: int) -> str:
    """Return why a machine of the organisation cannot be understood; empty if it can. See `find_incompatible`."""
    found = find_incompatible(engine, now=now, org_name=org_name, machine_name=machine_name)
    return found.get((org_name, machine_name), "")


def delete_dead_letters(
    connection: Connection,
    *,
    org_name: str | None = None,
    machine_name: str | None = None,
    until: int | None = None,
) -> int:
    """Delete dead letters of all senders or of some, received until then; return their number."""
    conditions = _of(org_name, machine_name)
    if until is not None:
        conditions.append(dead_letter.c.received_at <= until)
    return connection.execute(delete(dead_letter).where(*conditions)).rowcount


def _of(org_name: str | None, machine_name: str | None) -> list[ColumnElement[bool]]:
    wanted = ((dead_letter.c.org, org_name), (dead_letter.c.machine, machine_name))
    return [column == name for column, name in wanted if name is not None]
