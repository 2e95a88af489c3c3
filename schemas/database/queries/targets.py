"""The machines that an operator's command means, and what they allow, for the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, Row, Text, cast, func, select

from schemas.contract.action_catalogue import Target, target
from schemas.database import tables

_CHUNK = 500


def has_org(engine: Engine, org: str) -> bool:
    """Whether there is an organisation of this name."""
    with engine.connect() as connection:
        return connection.scalar(select(tables.org.c.id).where(tables.org.c.name == org)) is not None


def find_targets(
    engine: Engine,
    org: str,
    *,
    machines: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    presence: str | None = None,
) -> list[Target]:
    """The organisation's machines of these names (all when none is given), with these labels and presence, by name.

    Retired machines are not among them.
    """
    known = func.coalesce(tables.state.c.presence, "unknown")
    columns = (tables.machine.c.name, tables.machine.c.hostname, tables.machine.c.labels, known.label("presence"))
    query = (
        select(*columns, *_said())
        .select_from(tables.machine.join(tables.org).outerjoin(tables.state))
        .where(tables.org.c.name == org, known != "retired")
        .order_by(tables.machine.c.name)
    )
    if presence is not None:
        query = query.where(known == presence)
    with engine.connect() as connection:
        rows = connection.execute(query.where(tables.machine.c.name.in_(machines)) if machines else query).all()
    return [_target(row) for row in rows if (labels or {}).items() <= (row.labels or {}).items()]


def _target(row: Row[Any]) -> Target:
    return target(row.name, hostname=row.hostname, presence=row.presence, actions=row.its_actions, keys=row.its_keys)


def _said() -> list[Any]:
    """What a machine said of itself, as JSON text: most of a fleet says the same, and it is read once."""
    return [cast(tables.machine.c.info[name], Text).label(f"its_{name}") for name in ("actions", "keys")]


def command_states(engine: Engine, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Where these commands are, by id; those that are not recorded yet are missing."""
    columns = [tables.command.c[name] for name in ("id", "state", "reason", "detail", "exit_code", "output")]
    found: dict[str, dict[str, Any]] = {}
    with engine.connect() as connection:
        for start in range(0, len(ids), _CHUNK):
            query = select(*columns).where(tables.command.c.id.in_(ids[start : start + _CHUNK]))
            found.update({row["id"]: dict(row) for row in connection.execute(query).mappings()})
    return found
