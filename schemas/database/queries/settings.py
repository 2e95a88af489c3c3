"""The dashboard's SQL about an organisation itself: its settings, who may connect, and what was changed by whom.

Invariants:
- Every query takes the organisation, by its name, and never finds another's.
- No record of a secret is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, Text, cast, or_, select

from schemas.contract.messages import OrgConfig, Signed
from schemas.database.queries.commands import WAITING
from schemas.database.tables import command, key_change, machine, org, principal, request, token
from schemas.fleet import organisation
from schemas.fleet.history import Retention

_CHUNK: Final = 500

PROGRAMS: Final = ("reader", "operator")
"""The roles of programs that an admin lets in."""


def answers(engine: Engine, org_name: str, ids: Sequence[str]) -> dict[str, Row[Any]]:
    """Those of these requests that are recorded, by id: state and detail."""
    query: Select[Any] = (
        select(request.c.id, request.c.state, request.c.detail)
        .join_from(request, org)
        .where(org.c.name == org_name, request.c.id.in_(ids))
    )
    with engine.connect() as connection:
        return {row.id: row for row in connection.execute(query)}


def settings(engine: Engine, org_name: str) -> tuple[OrgConfig, Retention]:
    """What is set; the defaults when there is no such organisation."""
    with engine.connect() as connection:
        row = connection.execute(select(org.c.config, org.c.retention).where(org.c.name == org_name)).first()
    if row is None:
        return OrgConfig(), Retention()
    return organisation.read_config(row.config), Retention.read(row.retention)


def tokens(engine: Engine, org_name: str) -> list[Row[Any]]:
    """Every token: what it may make, has made, and until when. The newest first."""
    columns = (token.c[name] for name in ("uses", "used", "expires_at", "created_at", "created_by"))
    query = (
        select(principal.c.name, *columns, principal.c.revoked_at)
        .join_from(token, principal)
        .where(principal.c.org == org_name)
        .order_by(token.c.created_at.desc(), principal.c.name)
    )
    with engine.connect() as connection:
        return list(connection.execute(query))


def programs(engine: Engine, org_name: str) -> list[Row[Any]]:
    """Every program that has, or had, a credential."""
    columns = (principal.c[name] for name in ("name", "username", "role", "created_at", "previous_until", "revoked_at"))
    query = (
        select(*columns)
        .where(principal.c.org == org_name, principal.c.role.in_(PROGRAMS))
        .order_by(principal.c.revoked_at.is_not(None), principal.c.name)
    )
    with engine.connect() as connection:
        return list(connection.execute(query))


def changes(engine: Engine, org_name: str, *, search: str, limit: int) -> list[Row[Any]]:
    """What was asked for beside acting on machines, the newest first, where every word is mentioned."""
    query = (
        select(*(request.c[name] for name in ("id", "created_at", "kind", "state", "detail", "actor", "principal")))
        .join_from(request, org)
        .where(org.c.name == org_name, request.c.kind != "act")
        .order_by(request.c.created_at.desc(), request.c.id)
        .limit(limit)
    )
    for word in search.split():
        fields = (request.c.actor, request.c.detail, request.c.kind)
        query = query.where(or_(*(each.icontains(word, autoescape=True) for each in fields)))
    with engine.connect() as connection:
        return list(connection.execute(query))


@dataclass(frozen=True, slots=True)
class Configured:
    """What a machine should have, as it is stored, and whether another configuration is on its way to it."""

    desired: Any
    waiting: bool


def desired(engine: Engine, org_name: str, name: str) -> Configured:
    """How a machine should be configured."""
    mine = select(machine.c.id).join_from(machine, org).where(org.c.name == org_name, machine.c.name == name)
    waiting = (
        select(command.c.id)
        .where(command.c.machine_id.in_(mine), command.c.action == "configure", command.c.state.in_(WAITING))
        .limit(1)
    )
    with engine.connect() as connection:
        stored = connection.execute(select(machine.c.desired).where(machine.c.id.in_(mine))).scalar()
        return Configured(stored, connection.execute(waiting).first() is not None)


def key_changes(engine: Engine, org_name: str) -> list[Signed]:
    """Who may sign orders, as it was signed, in its order."""
    query = (
        select(*(key_change.c[name] for name in ("statement", "key", "signature")))
        .join_from(key_change, org)
        .where(org.c.name == org_name)
        .order_by(key_change.c.id)
    )
    with engine.connect() as connection:
        return [Signed.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def labelled(engine: Engine, org_name: str, names: Sequence[str]) -> list[Row[Any]]:
    """What another configuration of these machines begins with: labels, what is desired, and the actions they allow."""
    actions = cast(machine.c.info["actions"], Text).label("its_actions")
    query = (
        select(machine.c.name, machine.c.labels, machine.c.desired, actions)
        .join_from(machine, org)
        .where(org.c.name == org_name)
        .order_by(machine.c.name)
    )
    found: list[Row[Any]] = []
    with engine.connect() as connection:
        for start in range(0, len(names), _CHUNK):
            found += connection.execute(query.where(machine.c.name.in_(names[start : start + _CHUNK])))
    return found
