"""Credentials of simulated machines."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection

from broker.access.credentials import bcrypt_record, hash_secret, new_secret
from broker.access.policy import Principal, Role
from ingestor.admin.access import Now, add_org, org_id
from runtime.errors import UserError
from schemas.database.tables import machine, principal

SIMULATED = "simulated"
"""Label of simulated machines."""

_AT_ONCE = 500


def provision_simulated(engine: Engine, org: str, names: Sequence[str], *, now: Now) -> str:
    """Make these machines of an organisation, which is created if there is none, and return the secret they share.

    Machines of an earlier simulation get the new secret. Raises UserError if the organisation has other machines or
    principals of these names: nothing may take a real machine's credential.
    """
    add_org(engine, org, now=now)
    _refuse_real_machines(engine, org)
    secret = new_secret()
    record = {"secret_hash": hash_secret(secret), "bcrypt": bcrypt_record(secret), "revoked_at": None}
    for start in range(0, len(names), _AT_ONCE):
        wanted = {Principal(Role.MACHINE, org, name).username: name for name in names[start : start + _AT_ONCE]}
        with engine.begin() as connection:
            _set_principals(connection, org, wanted, {**record, "created_at": now()})
            _add_machines(connection, org, list(wanted.values()), now())
    return secret


def _set_principals(connection: Connection, org: str, wanted: Mapping[str, str], record: Mapping[str, object]) -> None:
    rows = connection.execute(select(principal).where(principal.c.username.in_(wanted))).all()
    if strange := [row.username for row in rows if row.role != Role.MACHINE.value]:
        raise UserError(f"{strange[0]} is not a machine: choose another --prefix or --org")
    known = {row.username for row in rows}
    if known:
        connection.execute(principal.update().where(principal.c.username.in_(known)).values(record))
    fields = {"role": Role.MACHINE.value, "org": org, **record}
    new = [{"username": username, "name": name, **fields} for username, name in wanted.items() if username not in known]
    if new:
        connection.execute(principal.insert(), new)


def _add_machines(connection: Connection, org: str, names: Sequence[str], now: int) -> None:
    key = org_id(connection, org)
    there = set(connection.scalars(select(machine.c.name).where(machine.c.org_id == key, machine.c.name.in_(names))))
    if missing := [{"org_id": key, "name": name, "created_at": now} for name in names if name not in there]:
        connection.execute(machine.insert(), missing)


def _refuse_real_machines(engine: Engine, org: str) -> None:
    with engine.connect() as connection:
        mine = select(machine.c.name, machine.c.labels).where(machine.c.org_id == org_id(connection, org))
        rows = connection.execute(mine.where(machine.c.agent_version.is_not(None))).all()
    if real := [row.name for row in rows if (row.labels or {}).get(SIMULATED) is None]:
        raise UserError(f"the organisation {org} has real machines, such as {real[0]}: choose another --org")
