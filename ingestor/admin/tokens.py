"""Enrolment tokens: each is a principal that may only request enrolment.

Invariant: a token is shown once; only the hash of its secret is stored.
"""

from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection

from broker.access.credentials import bcrypt_record, hash_secret
from broker.access.credentials import new_token as new_credential
from broker.access.policy import Principal, Role
from ingestor.admin.access import Now, insert_principal, read_rows, require_org, store_bcrypt
from runtime.errors import UserError
from schemas.contract.administration import TOKEN_LIFE_MAX_SECONDS, TOKEN_USES_MAX
from schemas.contract.enrolment import Token
from schemas.database import tables


def new_token(engine: Engine, org: str, *, uses: int, seconds: float, created_by: str, now: Now) -> Token:
    """Create a token for a number of machines (`uses`) within a time. Raises UserError."""
    if not 1 <= uses <= TOKEN_USES_MAX:
        raise UserError(f"a token enrols 1 to {TOKEN_USES_MAX} machines, not {uses}")
    if not 0 < seconds <= TOKEN_LIFE_MAX_SECONDS:
        raise UserError("a token lives for 30 days at most: see --expires")
    token = new_credential(org)
    with engine.begin() as connection:
        require_org(connection, org)
        until = now() + round(seconds * 1000)
        insert_token(connection, org, token.name, hash_secret(token.secret), uses, until, created_by, now())
        store_bcrypt(connection, Principal(Role.ENROL, org, token.name).username, bcrypt_record(token.secret))
    return token


def insert_token(
    connection: Connection, org: str, name: str, secret_hash: str, uses: int, until: int, created_by: str, now: int
) -> None:
    """Insert a token by the hash of its secret. Raises UserError if a principal has or had this name."""
    principal = Principal(Role.ENROL, org, name)
    known = tables.principal.c.username == principal.username
    if connection.execute(select(tables.principal.c.username).where(known)).first() is not None:
        raise UserError(f"there is, or was, a {principal.username}: choose another name")
    insert_principal(connection, principal, secret_hash, now)
    values = {"username": principal.username, "uses": uses, "expires_at": until, "created_at": now}
    connection.execute(tables.token.insert().values(**values, created_by=created_by[:128]))


def list_tokens(engine: Engine, org: str | None = None) -> list[dict[str, Any]]:
    """Return every token with its uses and expiry, by the name that `dashfleet token revoke` takes."""
    table, principal = tables.token, tables.principal
    query = select(
        table.c.username.label("token"),
        principal.c.org,
        table.c.uses,
        table.c.used,
        table.c.created_at.label("created"),
        table.c.created_by,
        table.c.expires_at.label("expires"),
        principal.c.revoked_at.label("revoked"),
    ).select_from(table.join(principal))
    if org is not None:
        query = query.where(principal.c.org == org)
    return read_rows(engine, query.order_by(table.c.created_at))


def revoke_token(engine: Engine, name: str, *, now: Now) -> None:
    """Revoke a token; the machines that it enrolled stay. Raises UserError."""
    with engine.begin() as connection:
        end_token(connection, name, now())


def end_token(connection: Connection, username: str, now: int) -> None:
    """Revoke a token. Raises UserError."""
    table = tables.principal
    mine = (table.c.username == username) & (table.c.role == Role.ENROL.value)
    found = connection.execute(select(table.c.revoked_at).where(mine)).first()
    if found is None:
        raise UserError(f"there is no token {username}: see dashfleet token list")
    if found.revoked_at is not None:
        raise UserError(f"the token {username} is revoked already")
    connection.execute(table.update().where(mine).values(revoked_at=now))
