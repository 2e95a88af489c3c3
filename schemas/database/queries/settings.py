"""An organisation's own records: settings, credentials, signing keys, and the configuration of one machine.

Invariants:
- Every query is restricted to one organisation, given by name.
- No secret hash is read.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, and_, select

from schemas.contract.messages import Signed
from schemas.contract.org_config import OrgConfig, Thresholds
from schemas.database.queries.commands import WAITING
from schemas.database.queries.fetch import fetch_all, fetch_first, fetch_mappings, fetch_scalar
from schemas.database.queries.fleet_order import CURRENT_NOW, PRESENCE_NOW
from schemas.database.queries.machines import select_machines
from schemas.database.tables import command, enrolment, key_change, machine, org, principal, state, token
from schemas.fleet import organisation
from schemas.fleet.health import HealthStatus, health
from schemas.fleet.history import Retention

PROGRAMS: Final = ("reader", "operator")
"""The roles that an administrator can give to a program."""


@dataclass(frozen=True, slots=True)
class DesiredConfig:
    """A machine's desired configuration as stored, and whether another one is on its way to it."""

    desired: Any
    waiting: bool


def has_org(engine: Engine, org_name: str) -> bool:
    """Return whether there is an organisation of this name."""
    return fetch_scalar(engine, select(org.c.id).where(org.c.name == org_name)) is not None


def read_org_created_at(engine: Engine, org_name: str) -> int | None:
    """Return when an organisation was created, in milliseconds; None if there is none of this name."""
    created_at: int | None = fetch_scalar(engine, select(org.c.created_at).where(org.c.name == org_name))
    return created_at


def read_settings(engine: Engine, org_name: str) -> tuple[OrgConfig, Retention]:
    """Return an organisation's settings; the defaults when there are none, or they cannot be read."""
    row = fetch_first(engine, select(org.c.config, org.c.retention).where(org.c.name == org_name))
    if row is None:
        return OrgConfig(), Retention()
    return organisation.read_config(row.config), Retention.read(row.retention)


def preview_health(
    engine: Engine, org_name: str, before: Thresholds, after: Thresholds
) -> Mapping[tuple[HealthStatus, HealthStatus], int]:
    """Return the number of machines per (status with the present thresholds, status with others).

    Only machines whose readings are current are counted.
    """
    query = select_machines(org_name, state.c.cpu_percent, state.c.memory_percent, state.c.disk_percent)
    found: Counter[tuple[HealthStatus, HealthStatus]] = Counter()
    for row in fetch_all(engine, query.where(CURRENT_NOW)):
        readings = row.cpu_percent, row.memory_percent, row.disk_percent
        found[health(*readings, before).status, health(*readings, after).status] += 1
    return found


def list_tokens(engine: Engine, org_name: str) -> list[Row[Any]]:
    """Return every enrolment token with its uses and its expiry, newest first."""
    columns = (token.c[name] for name in ("uses", "used", "expires_at", "created_at", "created_by"))
    query = (
        select(principal.c.name, *columns, principal.c.revoked_at)
        .join_from(token, principal)
        .where(principal.c.org == org_name)
        .order_by(token.c.created_at.desc(), principal.c.name)
    )
    return fetch_all(engine, query)


def list_arrivals(engine: Engine, org_name: str, token_name: str) -> list[Row[Any]]:
    """Return the machines that have enrolled with a token, the first first, with their presence now."""
    columns = (enrolment.c.machine, machine.c.hostname, state.c.last_seen_at, PRESENCE_NOW.label("presence"))
    query = (
        select(*columns)
        .select_from(enrolment.join(principal, principal.c.username == enrolment.c.token))
        .join(org, org.c.name == principal.c.org)
        .outerjoin(machine, and_(machine.c.org_id == org.c.id, machine.c.name == enrolment.c.machine))
        .outerjoin(state, state.c.machine_id == machine.c.id)
        .where(principal.c.org == org_name, principal.c.role == "enrol", principal.c.name == token_name)
        .order_by(enrolment.c.at, enrolment.c.machine)
    )
    return fetch_all(engine, query)


def list_programs(engine: Engine, org_name: str) -> list[Row[Any]]:
    """Return every program that has or had a credential, revoked ones last."""
    columns = (principal.c[name] for name in ("name", "username", "role", "created_at", "previous_until", "revoked_at"))
    query = (
        select(*columns)
        .where(principal.c.org == org_name, principal.c.role.in_(PROGRAMS))
        .order_by(principal.c.revoked_at.is_not(None), principal.c.name)
    )
    return fetch_all(engine, query)


def list_key_changes(engine: Engine, org_name: str) -> list[Signed]:
    """Return the signed changes of the organisation's signing keys, oldest first."""
    query = (
        select(*(key_change.c[name] for name in ("statement", "key", "signature")))
        .join_from(key_change, org)
        .where(org.c.name == org_name)
        .order_by(key_change.c.id)
    )
    return [Signed.model_validate(row) for row in fetch_mappings(engine, query)]


def read_desired(engine: Engine, org_name: str, name: str) -> DesiredConfig:
    """Return a machine's desired configuration."""
    mine = select(machine.c.id).join_from(machine, org).where(org.c.name == org_name, machine.c.name == name)
    stored = fetch_scalar(engine, select(machine.c.desired).where(machine.c.id.in_(mine)))
    waiting = (command.c.machine_id.in_(mine), command.c.action == "configure", command.c.state.in_(WAITING))
    return DesiredConfig(stored, fetch_first(engine, select(command.c.id).where(*waiting).limit(1)) is not None)
