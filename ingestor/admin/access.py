"""What admins write: organisations, and who may connect. By a command next to the ingestor, or by a request to it.

Invariants:
- A secret is hashed before it comes near the database, and is returned to the caller only when it is new.
- What takes a connection checks before it writes: whatever it refuses, by UserError, has changed nothing.
- Who is revoked stays in the table, so that brokers and the ingestor see it, and its name is nobody else's meanwhile.
- What an organisation has goes with it; its principals stay, revoked, until there is one of its name again.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.engine import Connection

from broker.access.credentials import bcrypt_record, hash_secret, new_secret, verify_secret
from broker.access.policy import Principal, Role
from runtime.errors import UserError
from schemas.contract.org_config import OrgConfig
from schemas.contract.topics import MACHINE_MAX_LENGTH, ORG_MAX_LENGTH, is_id
from schemas.database import tables
from schemas.fleet import organisation
from schemas.fleet.history import Retention

Now = Callable[[], int]

_PROVISIONED = (Role.READER, Role.OPERATOR, Role.MACHINE)


def new_org(engine: Engine, name: str, *, now: Now) -> None:
    """Make an organisation. Raises UserError when there is one of this name, or the name is wrong."""
    require_name(name, "an organisation", ORG_MAX_LENGTH)
    if not add_org(engine, name, now=now):
        raise UserError(f"there is an organisation {name} already")


def add_org(engine: Engine, name: str, *, now: Now) -> bool:
    """Make sure that there is an organisation of this name; whether it is new. A new one begins with nobody."""
    with engine.begin() as connection:
        if org_id(connection, name) is not None:
            return False
        connection.execute(tables.principal.delete().where(tables.principal.c.org == name))
        connection.execute(
            tables.org.insert().values(name=name, config=OrgConfig().model_dump(mode="json"), created_at=now())
        )
        return True


def list_orgs(engine: Engine) -> list[dict[str, Any]]:
    """Every organisation, with how many machines and valid principals of other roles it has."""
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
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(tables.org.c.name)).mappings()]


def remove_org(engine: Engine, name: str, *, now: Now) -> None:
    """Remove an organisation with its machines and all that is stored of them; revoke who was of it."""
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
    for machine in machines:  # each by itself, so that the ingestor never waits for long
        with engine.begin() as connection:
            connection.execute(tables.machine.delete().where(tables.machine.c.id == machine))
    with engine.begin() as connection:
        connection.execute(tables.org.delete().where(tables.org.c.name == name))


def add_principal(engine: Engine, principal: Principal, secret: str, *, now: Now, revive: bool = True) -> None:
    """Let a principal connect with this secret, and with no other from now on. A machine also gets its place.

    One that is revoked is let in again, unless not to `revive`. Raises LookupError when there is no such organisation.
    """
    with engine.begin() as connection:
        found = connection.execute(select(tables.principal).where(_called(principal.username))).first()
        if found is None:
            insert_principal(connection, principal, hash_secret(secret), now())
            note_bcrypt(connection, principal.username, bcrypt_record(secret))
        elif revive or found.revoked_at is None:
            known = verify_secret(secret, found.secret_hash)
            _change(connection, principal.username, found.secret_hash if known else hash_secret(secret))
            record = found.bcrypt if known and found.bcrypt else bcrypt_record(secret)
            note_bcrypt(connection, principal.username, record)
        if principal.role is Role.MACHINE:
            insert_machine(connection, principal.org, principal.name, now())


def new_principal(engine: Engine, org: str, name: str, role: str, *, now: Now) -> str:
    """Let somebody new connect, and return the secret. Raises UserError when the name is taken or wrong."""
    if role not in _PROVISIONED:
        raise UserError(f"there is no role {role} to give: choose one of {', '.join(_PROVISIONED)}")
    require_name(name, "a principal", MACHINE_MAX_LENGTH)
    secret = new_secret()
    with engine.begin() as connection:
        require_org(connection, org)
        principal = Principal(Role(role), org, name)
        provision(connection, principal, hash_secret(secret), now())
        note_bcrypt(connection, principal.username, bcrypt_record(secret))
    return secret


def provision(connection: Connection, principal: Principal, secret_hash: str, now: int) -> None:
    """Let somebody new connect, or a revoked one of the same role again, by the record of their secret."""
    found = connection.execute(select(tables.principal).where(_called(principal.username))).first()
    if found is None:
        insert_principal(connection, principal, secret_hash, now)
    elif found.revoked_at is None or found.role != principal.role:
        raise UserError(f"{principal.username} is there already: rotate or revoke it, or choose another name")
    else:
        _change(connection, principal.username, secret_hash)
    if principal.role is Role.MACHINE:
        insert_machine(connection, principal.org, principal.name, now)


def list_principals(engine: Engine, org: str | None = None) -> list[dict[str, Any]]:
    """Who has a credential, tokens aside: without secrets and their records."""
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
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(table.c.org, table.c.username)).mappings()]


def rotate_principal(engine: Engine, username: str, *, overlap_seconds: float, now: Now) -> str:
    """Give a principal another secret, and return it; the one before stays good for the overlap. Raises UserError."""
    secret = new_secret()
    with engine.begin() as connection:
        rotate(connection, username, hash_secret(secret), overlap_seconds, now())
        note_bcrypt(connection, username, bcrypt_record(secret))
    return secret


def rotate(connection: Connection, username: str, secret_hash: str, overlap_seconds: float, now: int) -> None:
    """Give a principal the secret of this record; the one before stays good for the overlap."""
    found = _require_valid(connection, username)
    until = now + round(overlap_seconds * 1000)
    _change(connection, username, secret_hash, (found.secret_hash, until) if overlap_seconds else (None, None))


def revoke_principal(engine: Engine, username: str, *, now: Now) -> None:
    """Let somebody connect no more: sessions end within seconds, and a machine is retired. Raises UserError."""
    with engine.begin() as connection:
        revoke(connection, username, now())


def revoke(connection: Connection, username: str, now: int) -> None:
    """Let somebody connect no more."""
    _require_valid(connection, username)
    connection.execute(tables.principal.update().where(_called(username)).values(revoked_at=now))


def reinstate(connection: Connection, username: str) -> None:
    """Let somebody connect again, with the secret that they had."""
    found = _require_known(connection, username)
    if found.revoked_at is None:
        raise UserError(f"{username} is not revoked")
    _change(connection, username, found.secret_hash)


def role_of(connection: Connection, username: str) -> str:
    """The role of a principal, revoked or not."""
    return str(_require_known(connection, username).role)


def configure_org(engine: Engine, name: str, changes: Mapping[str, float]) -> str:
    """Change these settings of an organisation, and say what was changed. Raises UserError."""
    with engine.begin() as connection:
        hold_org(connection, name)
        return configure(connection, name, changes)


def configure(connection: Connection, name: str, changes: Mapping[str, float]) -> str:
    """Change these settings of an organisation (`schemas.fleet.organisation`), and say what was changed."""
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
    """The value of every setting of an organisation. Raises UserError."""
    with engine.connect() as connection:
        return organisation.read_values(*_settings(connection, name))


def hold_org(connection: Connection, name: str) -> bool:
    """Let nobody else change who belongs to an organisation until this transaction ends; whether there is one."""
    held = connection.execute(tables.org.update().where(tables.org.c.name == name).values(name=tables.org.c.name))
    return held.rowcount > 0


def insert_principal(connection: Connection, principal: Principal, secret_hash: str, now: int) -> None:
    """Write a principal that is not there yet."""
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


def note_bcrypt(connection: Connection, username: str, record: str) -> None:
    """Keep also the record that NATS takes, where the secret itself is known; see `broker.external.nats`."""
    connection.execute(tables.principal.update().where(_called(username)).values(bcrypt=record))


def insert_machine(connection: Connection, org: str, name: str, now: int) -> None:
    """Make sure that there is a place for a machine. Raises LookupError when its organisation does not exist."""
    found = org_id(connection, org)
    if found is None:
        raise LookupError(f"there is no organisation {org}")
    known = (tables.machine.c.org_id == found) & (tables.machine.c.name == name)
    if connection.execute(select(tables.machine.c.id).where(known)).first() is None:
        connection.execute(tables.machine.insert().values(org_id=found, name=name, created_at=now))


def org_id(connection: Connection, name: str) -> int | None:
    """The number of an organisation."""
    return connection.scalar(select(tables.org.c.id).where(tables.org.c.name == name))


def require_org(connection: Connection, name: str) -> None:
    """Raise UserError when there is no organisation of this name."""
    if org_id(connection, name) is None:
        raise UserError(f"there is no organisation {name}: see dashfleet org list, or make it with dashfleet org add")


def require_name(name: str, what: str, max_length: int) -> None:
    """Raise UserError unless this may be an id."""
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
