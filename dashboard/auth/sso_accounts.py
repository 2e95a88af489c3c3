"""Users of a single sign-on provider, in the auth database beside those with a password.

Invariants:
- A user is identified by the provider and its `sub`, never by a name, which users may choose there: an account cannot
  be taken over by taking its name. Names from a provider contain an `@`, local names do not.
- Organisation and role are what the settings grant at this sign-in. When they change or end, older sessions end.
- They have no password: the stored hash is that of a discarded secret.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Engine, Row, Select, delete, insert, select
from sqlalchemy.engine import Connection

from dashboard.auth import users
from dashboard.auth.auth_database import identity, session, user
from dashboard.auth.passwords import hash_password, new_password
from dashboard.auth.users import User, UserRole

_NAME_MAX: Final = 64
_ADDRESS: Final = re.compile(r"[a-z0-9][a-z0-9._+-]*@[a-z0-9][a-z0-9.-]*")
_NOT_IN_A_NAME: Final = re.compile(r"[^a-z0-9._+-]+")
_ROLES: Final = tuple(UserRole)
"""By increasing permissions."""


@dataclass(frozen=True, slots=True)
class Grant:
    """An organisation, and the user's role in it."""

    org: str
    role: UserRole

    @classmethod
    def parse(cls, text: str) -> "Grant":
        """Parse `org:role`, the form in the settings."""
        org, _, role = text.partition(":")
        return cls(org, UserRole(role))


def granted(values: Sequence[str], grants: Mapping[str, str]) -> Grant | None:
    """Return the highest role that these values grant, in the first granted organisation of the settings."""
    found = [Grant.parse(grant) for value, grant in grants.items() if value in values]
    ours = [grant for grant in found if grant.org == found[0].org]
    return max(ours, key=lambda grant: _ROLES.index(grant.role), default=None)


def name_of(claims: Mapping[str, Any], host: str) -> str:
    """Return the user's name: their e-mail address, which the provider has verified, or `name@host` of the provider.

    Users may choose their name at the provider, so one that looks like an address is not taken for theirs.
    """
    address = str(claims.get("email") or "").strip().lower()
    wished = (str(claims.get(claim) or "").strip().lower() for claim in ("preferred_username", "email"))
    names = [name for name in wished if name]
    for name in names:
        if name == address and _ADDRESS.fullmatch(name) and len(name) <= _NAME_MAX:
            return name
    start = _NOT_IN_A_NAME.sub("-", names[0].partition("@")[0]).strip(".-") if names else ""
    start = start or f"person-{sha256(str(claims['sub']).encode()).hexdigest()[:8]}"
    return f"{start[:24]}@{host[: _NAME_MAX - 25]}"


def provide(engine: Engine, subject: str, name: str, grant: Grant) -> User:
    """Return the user of a subject with this grant; add them at their first sign-in. Raises AccountError."""
    with engine.begin() as connection:
        row = _find(connection, subject)
        if row is None:
            hashed = hash_password(new_password())
            who = users.insert_user(connection, name, hashed, grant.role, grant.org, name)
            connection.execute(insert(identity).values(subject=subject, user_id=who.id))
            return who
        if (row.org, row.role) != (grant.org, grant.role.value):
            values = {"org": grant.org, "role": grant.role.value}
            users.change_user(connection, User.of(row), row.name, "set-role", grant.role.value, **values)
        return User(row.id, row.name, grant.role, grant.org)


def end_sessions(engine: Engine, subject: str) -> None:
    """End the sessions of a user who is no longer granted anything."""
    with engine.begin() as connection:
        row = _find(connection, subject)
        if row is not None:
            connection.execute(delete(session).where(session.c.user_id == row.id))


def _find(connection: Connection, subject: str) -> Row[Any] | None:
    query: Select[Any] = select(user.c.id, user.c.name, user.c.org, user.c.role).join_from(user, identity)
    return connection.execute(query.where(identity.c.subject == subject)).first()
