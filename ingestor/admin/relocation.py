"""Machines that move between servers: the records of their secrets, and their acceptance by another server.

Invariants:
- Acceptance is one transaction, and repeating it changes nothing.
- A machine is accepted only under its own id: where another machine has it, nothing is accepted.
"""

from collections.abc import Sequence

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection

from broker.access.policy import Principal, Role
from ingestor.admin.access import Now, insert_machine, insert_principal, lock_org, require_org, store_bcrypt
from ingestor.admin.key_changes import signed_changes
from runtime.errors import UserError
from schemas.contract.enrolment import EnrolledKey
from schemas.contract.signing import keys_in_force
from schemas.database import tables
from schemas.relocation.machines import MovingMachine, MovingMachines

_NAMED_MAX = 5


def export_machines(engine: Engine, org: str, names: Sequence[str] | None) -> MovingMachines:
    """Return the records of these machines; None: of all with a valid credential. Raises UserError."""
    table = tables.principal
    valid = (table.c.org == org) & (table.c.role == Role.MACHINE.value) & table.c.revoked_at.is_(None)
    with engine.connect() as connection:
        require_org(connection, org)
        rows = connection.execute(
            select(table.c.name, table.c.secret_hash, table.c.bcrypt).where(valid).order_by(table.c.name)
        ).all()
    known = {row.name: row for row in rows}
    wanted = list(known) if names is None else list(dict.fromkeys(names))
    if missing := [name for name in wanted if name not in known]:
        raise UserError(f"{org} has no machine {missing[0]} with a valid credential: dashfleet machines lists them")
    if not wanted:
        raise UserError(f"{org} has no machine")
    records = [
        MovingMachine(machine=name, secret_hash=known[name].secret_hash, bcrypt=known[name].bcrypt) for name in wanted
    ]
    return MovingMachines(org=org, machines=tuple(records))


def accept_machines(engine: Engine, org: str, moving: MovingMachines, *, now: Now) -> list[str]:
    """Accept machines of another server into an organisation; return the ids of the new ones. Raises UserError."""
    with engine.begin() as connection:
        require_org(connection, org)
        lock_org(connection, org)
        new = _new_machines(connection, org, moving)
        for each in new:
            principal = Principal(Role.MACHINE, org, each.machine)
            insert_principal(connection, principal, each.secret_hash, now())
            if each.bcrypt is not None:
                store_bcrypt(connection, principal.username, each.bcrypt)
            insert_machine(connection, org, each.machine, now())
    return [each.machine for each in new]


def trusted_keys(engine: Engine, org: str, now: int) -> tuple[EnrolledKey, ...]:
    """Return the signing keys in force, which a machine that comes here must obey. Raises UserError without any."""
    with engine.connect() as connection:
        keys = keys_in_force(signed_changes(connection, org), org, now).values()
    if not keys:
        raise UserError(f"{org} has no signing key: create one with dashfleet key create --org {org}")
    return tuple(EnrolledKey(public_key=key.public_key, name=key.name, expires_at=key.expires_at) for key in keys)


def _new_machines(connection: Connection, org: str, moving: MovingMachines) -> list[MovingMachine]:
    """Return the machines that are not known here. Raises UserError if the id of one belongs to another."""
    table = tables.principal
    rows = connection.execute(
        select(table.c.username, table.c.secret_hash, table.c.revoked_at).where(table.c.org == org)
    )
    known = {row.username: row for row in rows}
    new, taken = [], []
    for each in {each.machine: each for each in moving.machines}.values():
        found = known.get(Principal(Role.MACHINE, org, each.machine).username)
        if found is None:
            new.append(each)
        elif found.secret_hash != each.secret_hash or found.revoked_at is not None:
            taken.append(each.machine)
    if taken:
        listed = ", ".join(taken[:_NAMED_MAX]) + (f" and {len(taken) - _NAMED_MAX} more" if taken[_NAMED_MAX:] else "")
        raise UserError(
            f"{org} has or had another machine of this id: {listed}. An id is never given twice: enrol these machines "
            "here with a token instead"
        )
    return new
