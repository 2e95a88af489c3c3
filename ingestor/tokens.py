"""Enrolment tokens as the admin commands make them: each is a principal that may only ask for a machine's place.

Invariant: a token is shown once, whole; what is stored of it is the record of its secret.
"""

import secrets
from typing import Any

from sqlalchemy import Engine, select

from broker.access import Principal, Role
from broker.credentials import hash_secret, new_secret
from ingestor.admin import Now, insert_principal, require_org
from schemas import tables
from schemas.enrolment import Token
from schemas.errors import StartError

USES_MAX = 10_000
LIFE_MAX_SECONDS = 30 * 86_400


def new_token(engine: Engine, org: str, *, uses: int, seconds: float, created_by: str, now: Now) -> Token:
    """A token that makes so many machines within so many seconds. Raises StartError."""
    if not 1 <= uses <= USES_MAX:
        raise StartError(f"a token makes 1 to {USES_MAX} machines, not {uses}")
    if not 0 < seconds <= LIFE_MAX_SECONDS:
        raise StartError("a token lives for 30 days at most: see --expires")
    token = Token(org, f"token-{secrets.token_hex(4)}", new_secret())
    principal = Principal(Role.ENROL, org, token.name)
    with engine.begin() as connection:
        require_org(connection, org)
        insert_principal(connection, principal, hash_secret(token.secret), now())
        connection.execute(
            tables.token.insert().values(
                username=principal.username,
                uses=uses,
                expires_at=now() + round(seconds * 1000),
                created_at=now(),
                created_by=created_by[:128],
            )
        )
    return token


def list_tokens(engine: Engine, org: str | None = None) -> list[dict[str, Any]]:
    """Every token, by the name that `dashfleet token revoke` takes: what it may make, has made, and until when."""
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
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(table.c.created_at)).mappings()]


def revoke_token(engine: Engine, name: str, *, now: Now) -> None:
    """End a token before its time: the machines that it made stay. Raises StartError."""
    table = tables.principal
    mine = (table.c.username == name) & (table.c.role == Role.ENROL.value)
    with engine.begin() as connection:
        found = connection.execute(select(table.c.revoked_at).where(mine)).first()
        if found is None:
            raise StartError(f"there is no token {name}: see dashfleet token list")
        if found.revoked_at is not None:
            raise StartError(f"the token {name} is revoked already")
        connection.execute(table.update().where(mine).values(revoked_at=now()))
