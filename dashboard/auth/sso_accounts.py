"""People whom an OpenID Connect provider vouches for, in the auth database beside those with a password of ours.

Invariants:
- Somebody is who they are by their provider and its `sub`, never by a name that they may choose there: nobody takes
  over an account by taking its name. A name from a provider has an `@`, which no name of ours has.
- Organisation and role are what the settings grant at this sign-in. When they changed, or are gone, older sessions end.
- They have no password: what is stored as one is the hash of a secret that nobody has seen.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, delete, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from dashboard.auth import accounts
from dashboard.auth.accounts import AccountError, Person, PersonRole, identity, session, user

_NAME_MAX: Final = 64
_ADDRESS: Final = re.compile(r"[a-z0-9][a-z0-9._+-]*@[a-z0-9][a-z0-9.-]*")
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9._+-]+")
_ROLES: Final = tuple(PersonRole)
"""From the least to the most."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody may do, and where."""

    org: str
    role: PersonRole

    @classmethod
    def parse(cls, text: str) -> "Grant":
        """From `org:role`, as the settings have it."""
        org, _, role = text.partition(":")
        return cls(org, PersonRole(role))


def granted(values: Sequence[str], grants: Mapping[str, str]) -> Grant | None:
    """The most that these values give. Who is granted several organisations gets the first that the settings name."""
    found = [Grant.parse(grant) for value, grant in grants.items() if value in values]
    ours = [grant for grant in found if grant.org == found[0].org]
    return max(ours, key=lambda grant: _ROLES.index(grant.role), default=None)


def name_of(claims: Mapping[str, Any], host: str) -> str:
    """What somebody is called here: their address, or their name at the provider's host."""
    wished = (str(claims.get(claim) or "").strip().lower() for claim in ("preferred_username", "email"))
    names = [name for name in wished if name]
    for name in names:
        if _ADDRESS.fullmatch(name) and len(name) <= _NAME_MAX:
            return name
    start = _NOT_IN_A_NAME.sub("-", names[0].partition("@")[0]).strip(".-") if names else ""
    start = start or f"person-{sha256(str(claims['sub']).encode()).hexdigest()[:8]}"
    return f"{start[:24]}@{host[: _NAME_MAX - 25]}"


def settle(engine: Engine, subject: str, name: str, grant: Grant) -> Person:
    """The person behind a subject, made at the first sign-in, as this grant has them. Raises AccountError."""
    with engine.begin() as connection:
        row = _find(connection, subject)
        if row is None:
            return _insert(connection, subject, name, grant)
        if (row.org, row.role) != (grant.org, grant.role.value):
            known = Person(row.id, row.name, PersonRole(row.role), row.org)
            values = {"org": grant.org, "role": grant.role.value}
            accounts.change_user(connection, known, row.name, "set-role", grant.role.value, **values)
        return Person(row.id, row.name, grant.role, grant.org)


def turn_away(engine: Engine, subject: str) -> None:
    """End the sessions of somebody to whom nothing is granted any more."""
    with engine.begin() as connection:
        row = _find(connection, subject)
        if row is not None:
            connection.execute(delete(session).where(session.c.user_id == row.id))


def _find(connection: Connection, subject: str) -> Row[Any] | None:
    query: Select[Any] = select(user.c.id, user.c.name, user.c.org, user.c.role).join_from(user, identity)
    return connection.execute(query.where(identity.c.subject == subject)).first()


def _insert(connection: Connection, subject: str, name: str, grant: Grant) -> Person:
    hashed = accounts.hash_password(accounts.new_password())
    row = {"name": name, "password_hash": hashed, "role": grant.role.value, "org": grant.org}
    try:
        made = connection.execute(insert(user).values(**row, created_at=time.time_ns() // 1_000_000))
    except IntegrityError:
        raise AccountError(f"somebody else is called {name} already") from None
    id_ = int(made.inserted_primary_key[0]) if made.inserted_primary_key else 0
    connection.execute(insert(identity).values(subject=subject, user_id=id_))
    accounts.record(connection, grant.org, name, "add-person", name, grant.role.value)
    return Person(id_, name, grant.role, grant.org)
