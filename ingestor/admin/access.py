"""Organisations and principals, as admins change them: by a command next to the ingestor, or by a request to it.

Invariants:
- A secret is hashed before it reaches the database, and returned to the caller only when it is new.
- A function that takes a connection checks before it writes: if it raises UserError, it has changed nothing.
- A revoked principal stays in the table, so that brokers and the ingestor see it, and its name is not reused. Only
  those of a single run of a command are removed.
- Removing an organisation deletes its data; its principals stay, revoked, until the name is used again.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, func, select
from sqlalchemy.engine import Connection

from broker.access.credentials import bcrypt_record, hash_secret, new_secret, verify_secret
from broker.access.policy import Principal, Role
from runtime.errors import UserError
from schemas.contract.alert_rules import DEFAULT_RULES
from schemas.contract.org_config import OrgConfig
from schemas.contract.topics import MACHINE_MAX_LENGTH, ORG_MAX_LENGTH, is_id
from schemas.database import tables
from schemas.database.rule_rows import rule_values
from schemas.fleet import organisation
from schemas.fleet.history import Retention

Now = Callable[[], int]

_PROVISIONED = (Role.READER, Role.OPERATOR, Role.REPLAY, Role.MACHINE)


def new_org(engine: Engine, name: str, *, now: Now) -> None:
    """Create an organisation. Raises UserError if it exists, or the name is invalid."""
    require_name(name, "an organisation", ORG_MAX_LENGTH)
    if not add_org(engine, name, now=now):
        raise UserError(f"the organisation {name} exists already")


def add_org(engine: Engine, name: str, *, now: Now) -> bool:
    """Create an organisation with the default rules, without principals, unless it exists; return whether it is new."""
    with engine.begin() as connection:
        if org_id(connection, name) is not None:
            return False
        connection.execute(tables.principal.delete().where(tables.principal.c.org == name))
        at = now()
        connection.execute(
            tables.org.insert().values(name=name, config=OrgConfig().model_dump(mode="json"), created_at=at)
        )
        key = {"org_id": org_id(connection, name)}
        connection.execute(tables.alert_rule.insert(), [{**key, **rule_values(rule, at)} for rule in DEFAULT_RULES])
        return True


def list_orgs(engine: Engine) -> list[dict[str, Any]]:
    """Return every organisation with its number of machines and of valid principals of other roles."""
    machines = select(func.count()).where(tables.machine.c.org_id == tables.org.c.id).scalar_subquery()
    principals = (
        select(func.count())
        .where(tables.principal.c.org == tables.org.c.name, tables.principal.c.revoked_at.is_(None))
        .where(tables.principal.c.role.not_in((Role.MACHINE.value, Role.ENROL.value)))
        .scalar_subquery()
    )
    query = select(
        tables.org.c.name.label("org"),
        machines.label("machines"),
        principals.label("principals"),
        tables.org.c.created_at.label("created"),
    )
    return read_rows(engine, query.order_by(tables.org.c.name))


def remove_org(engine: Engine, name: str, *, now: Now) -> None:
    """Remove an organisation with the data of its machines, and revoke its principals. Raises UserError."""
    mine, valid = tables.principal.c.org == name, tables.principal.c.revoked_at.is_(None)
    with engine.begin() as connection:
        require_org(connection, name)
        connection.execute(
            tables.token.delete().where(tables.token.c.username.in_(select(tables.principal.c.username).where(mine)))
        )
        connection.execute(tables.principal.update().where(mine, valid).values(revoked_at=now()))
        machines = connection.scalars(
            select(tables.machine.c.id).join(tables.org).where(tables.org.c.name == name)
        ).all()
    for machine in machines:  # one transaction each, so that the ingestor never waits for long
        with engine.begin() as connection:
            connection.execute(tables.machine.delete().where(tables.machine.c.id == machine))
    with engine.begin() as connection:
        connection.execute(tables.org.delete().where(tables.org.c.name == name))


def add_principal(engine: Engine, principal: Principal, secret: str, *, now: Now, revive: bool = True) -> None:
    """Add a principal, or set its only secret; a machine also gets its row.

    A revoked principal becomes valid again if `revive`. Raises LookupError if the organisation does not exist.
    """
    with engine.begin() as connection:
        found = connection.execute(select(tables.principal).where(_called(principal.username))).first()
        if found is None:
            insert_principal(connection, principal, hash_secret(secret), now())
            store_bcrypt(connection, principal.username, bcrypt_record(secret))
        elif revive or found.revoked_at is None:
            known = verify_secret(secret, found.secret_hash)
            _change(connection, principal.username, found.secret_hash if known else hash_secret(secret))
            record = found.bcrypt if known and found.bcrypt else bcrypt_record(secret)
            store_bcrypt(connection, principal.username, record)
        if principal.role is Role.MACHINE:
            insert_machine(connection, principal.org, principal.name, now())


def remove_principal(engine: Engine, principal: Principal) -> None:
    """Remove a principal whose name is never used again, such as that of one run of a command; a machine with its data.

    No ingestor may have samples of the machine meanwhile.
    """
    with engine.begin() as connection:
        if principal.role is Role.MACHINE:
            key = org_id(connection, principal.org)
            mine = (tables.machine.c.org_id == key) & (tables.machine.c.name == principal.name)
            connection.execute(tables.machine.delete().where(mine))
        connection.execute(tables.principal.delete().where(_called(principal.username)))


def new_principal(engine: Engine, org: str, name: str, role: str, *, now: Now) -> str:
    """Add a principal and return its secret. Raises UserError if the name is taken or invalid."""
    if role not in _PROVISIONED:
        raise UserError(f"the role {role} cannot be given: choose one of {', '.join(_PROVISIONED)}")
    require_name(name, "a principal", MACHINE_MAX_LENGTH)
    secret = new_secret()
    with engine.begin() as connection:
        require_org(connection, org)
        principal = Principal(Role(role), org, name)
        provision(connection, principal, hash_secret(secret), now())
        store_bcrypt(connection, principal.username, bcrypt_record(secret))
    return secret


def provision(connection: Connection, principal: Principal, secret_hash: str, now: int) -> None:
    """Add a principal, or make a revoked one of the same role valid, by the hash of its secret."""
    found = connection.execute(select(tables.principal).where(_called(principal.username))).first()
    if found is None:
        insert_principal(connection, principal, secret_hash, now)
    elif found.revoked_at is None or found.role != principal.role:
        raise UserError(f"{principal.username} exists already: rotate or revoke it, or choose another name")
    else:
        _change(connection, principal.username, secret_hash)
    if principal.role is Role.MACHINE:
        insert_machine(connection, principal.org, principal.name, now)


def list_principals(engine: Engine, org: str | None = None) -> list[dict[str, Any]]:
    """Return the principals, except enrolment tokens, without secrets and hashes."""
    table = tables.principal
    query = select(
        table.c.username,
        table.c.role,
        table.c.org,
        table.c.created_at.label("created"),
        table.c.previous_until,
        table.c.revoked_at.label("revoked"),
    ).where(table.c.role != Role.ENROL.value)
    if org is not None:
        query = query.where(table.c.org == org)
    return read_rows(engine, query.order_by(table.c.org, table.c.username))


def rotate_principal(engine: Engine, username: str, *, overlap_seconds: float, now: Now) -> str:
    """Set and return a new secret; the previous one stays valid for the overlap. Raises UserError."""
    secret = new_secret()
    with engine.begin() as connection:
        rotate(connection, username, hash_secret(secret), overlap_seconds, now())
        store_bcrypt(connection, username, bcrypt_record(secret))
    return secret


def rotate(connection: Connection, username: str, secret_hash: str, overlap_seconds: float, now: int) -> None:
    """Set a new secret by its hash; the previous one stays valid for the overlap."""
    found = _require_valid(connection, username)
    until = now + round(overlap_seconds * 1000)
    _change(connection, username, secret_hash, (found.secret_hash, until) if overlap_seconds else (None, None))


def revoke_principal(engine: Engine, username: str, *, now: Now) -> None:
    """Revoke a credential: its sessions end within seconds, and a machine is retired. Raises UserError."""
    with engine.begin() as connection:
        revoke(connection, username, now())


def revoke(connection: Connection, username: str, now: int) -> None:
    """Revoke a credential."""
    _require_valid(connection, username)
    connection.execute(tables.principal.update().where(_called(username)).values(revoked_at=now))


def reinstate(connection: Connection, username: str) -> None:
    """Make a revoked credential valid again, with its previous secret."""
    found = _require_known(connection, username)
    if found.revoked_at is None:
        raise UserError(f"{username} is not revoked")
    _change(connection, username, found.secret_hash)


def role_of(connection: Connection, username: str) -> str:
    """Return the role of a principal, revoked or not."""
    return str(_require_known(connection, username).role)


def configure_org(engine: Engine, name: str, changes: Mapping[str, float]) -> str:
    """Change settings of an organisation; return a description of the changes. Raises UserError."""
    with engine.begin() as connection:
        lock_org(connection, name)
        return configure(connection, name, changes)


def configure(connection: Connection, name: str, changes: Mapping[str, float]) -> str:
    """Change settings of an organisation (`schemas.fleet.organisation`); return a description of the changes."""
    config, retention = _settings(connection, name)
    try:
        after = organisation.apply_changes(config, retention, changes)
    except ValueError as error:
        raise UserError(str(error)) from None
    stored = {"config": after[0].model_dump(mode="json"), "retention": after[1].model_dump(mode="json")}
    connection.execute(tables.org.update().where(tables.org.c.name == name).values(stored))
    return organisation.describe_differences(
        organisation.read_values(config, retention), organisation.read_values(*after)
    )


def org_settings(engine: Engine, name: str) -> dict[str, float]:
    """Return the value of every setting of an organisation. Raises UserError."""
    with engine.connect() as connection:
        return organisation.read_values(*_settings(connection, name))


def lock_org(connection: Connection, name: str) -> bool:
    """Lock an organisation until this transaction ends; return False if it does not exist."""
    locked = connection.execute(tables.org.update().where(tables.org.c.name == name).values(name=tables.org.c.name))
    return locked.rowcount > 0


def insert_principal(connection: Connection, principal: Principal, secret_hash: str, now: int) -> None:
    """Insert a new principal."""
    connection.execute(
        tables.principal.insert().values(
            username=principal.username,
            role=principal.role.value,
            org=principal.org,
            name=principal.name,
            secret_hash=secret_hash,
            created_at=now,
        )
    )


def store_bcrypt(connection: Connection, username: str, record: str) -> None:
    """Store the bcrypt hash that NATS needs, where the secret itself is known (`broker.external.nats`)."""
    connection.execute(tables.principal.update().where(_called(username)).values(bcrypt=record))


def insert_machine(connection: Connection, org: str, name: str, now: int) -> None:
    """Insert the row of a machine unless it exists. Raises LookupError if its organisation does not exist."""
    found = org_id(connection, org)
    if found is None:
        raise LookupError(f"there is no organisation {org}")
    known = (tables.machine.c.org_id == found) & (tables.machine.c.name == name)
    if connection.execute(select(tables.machine.c.id).where(known)).first() is None:
        connection.execute(tables.machine.insert().values(org_id=found, name=name, created_at=now))


def org_id(connection: Connection, name: str) -> int | None:
    """Return the id of an organisation."""
    return connection.scalar(select(tables.org.c.id).where(tables.org.c.name == name))


def require_org(connection: Connection, name: str) -> None:
    """Raise UserError if the organisation does not exist."""
    if org_id(connection, name) is None:
        raise UserError(f"there is no organisation {name}: see dashfleet org list, or create it with dashfleet org add")


def read_rows(engine: Engine, query: Select[Any]) -> list[dict[str, Any]]:
    """Return the rows of a query as dictionaries."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def require_name(name: str, what: str, max_length: int) -> None:
    """Raise UserError unless the name is a valid id."""
    if not is_id(name, max_length):
        raise UserError(
            f"{name!r} cannot be {what}: use lower-case letters, digits and inner hyphens, {max_length} at most"
        )


def _settings(connection: Connection, name: str) -> tuple[OrgConfig, Retention]:
    require_org(connection, name)
    row = connection.execute(select(tables.org.c.config, tables.org.c.retention).where(tables.org.c.name == name)).one()
    return organisation.read_config(row.config), Retention.read(row.retention)


def _require_known(connection: Connection, username: str) -> Any:  # noqa: ANN401 - a row of the table
    found = connection.execute(select(tables.principal).where(_called(username))).first()
    if found is None:
        raise UserError(f"there is no principal {username}: see dashfleet principal list")
    return found


def _require_valid(connection: Connection, username: str) -> Any:  # noqa: ANN401 - a row of the table
    found = _require_known(connection, username)
    if found.revoked_at is not None:
        raise UserError(f"{username} is revoked already")
    return found


def _change(
    connection: Connection,
    username: str,
    secret_hash: str,
    previous: tuple[str, int] | tuple[None, None] = (None, None),
) -> None:
    values = {"secret_hash": secret_hash, "previous_secret_hash": previous[0], "previous_until": previous[1]}
    values["bcrypt"] = None
    connection.execute(tables.principal.update().where(_called(username)).values(**values, revoked_at=None))


def _called(username: str) -> ColumnElement[bool]:
    return tables.principal.c.username == username
