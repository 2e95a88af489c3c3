"""What the admin commands write: organisations, machines, and who may connect. They run next to the ingestor.

Invariant: a secret is hashed before it comes near the database, and is returned to the caller only when it is new.
"""

from collections.abc import Callable

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection

from broker.access import Principal, Role
from broker.credentials import hash_secret, new_secret
from schemas import tables
from schemas.errors import StartError
from schemas.messages import OrgConfig
from schemas.topics import is_id


def add_org(engine: Engine, name: str, *, now: Callable[[], int]) -> None:
    """Make sure that there is an organisation of this name."""
    with engine.begin() as connection:
        if _org_id(connection, name) is None:
            connection.execute(
                tables.org.insert().values(name=name, config=OrgConfig().model_dump(mode="json"), created_at=now())
            )


def add_principal(engine: Engine, principal: Principal, secret: str, *, now: Callable[[], int]) -> None:
    """Let a principal connect with this secret, and with no other from now on. A machine also gets its place.

    Raises LookupError when its organisation does not exist.
    """
    values = {"secret_hash": hash_secret(secret), "revoked_at": None}
    with engine.begin() as connection:
        known = tables.principal.c.username == principal.username
        if connection.execute(select(tables.principal.c.username).where(known)).first() is not None:
            connection.execute(tables.principal.update().where(known).values(values))
        else:
            connection.execute(
                tables.principal.insert().values(
                    username=principal.username,
                    role=principal.role.value,
                    org=principal.org,
                    name=principal.name,
                    created_at=now(),
                    **values,
                )
            )
        if principal.role is Role.MACHINE:
            _add_machine(connection, principal.org, principal.name, now())


def new_machine(engine: Engine, org: str, name: str, *, now: Callable[[], int]) -> str:
    """Let a new machine connect, and return its secret. Raises StartError when the name is taken or wrong."""
    if not is_id(name):
        raise StartError(f"{name!r} cannot be a machine: use lower-case letters, digits and inner hyphens, 63 at most")
    principal = Principal(Role.MACHINE, org, name)
    with engine.connect() as connection:
        if connection.scalar(
            select(tables.principal.c.username).where(tables.principal.c.username == principal.username)
        ):
            raise StartError(f"{org} has a machine {name} already: choose another name")
    secret = new_secret()
    try:
        add_principal(engine, principal, secret, now=now)
    except LookupError as error:
        raise StartError(f"{error}") from None
    return secret


def _add_machine(connection: Connection, org: str, name: str, now: int) -> None:
    org_id = _org_id(connection, org)
    if org_id is None:
        raise LookupError(f"there is no organisation {org}")
    known = (tables.machine.c.org_id == org_id) & (tables.machine.c.name == name)
    if connection.execute(select(tables.machine.c.id).where(known)).first() is None:
        connection.execute(tables.machine.insert().values(org_id=org_id, name=name, created_at=now))


def _org_id(connection: Connection, name: str) -> int | None:
    return connection.scalar(select(tables.org.c.id).where(tables.org.c.name == name))
