"""The users of the dashboard, in its auth database.

Invariants:
- A new password, a new role or a removal ends all sessions of the user.
- A user belongs to one organisation. It scopes every query; no address can override it.
- A change is recorded with its author, in the same transaction.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, Row, delete, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from dashboard.auth.auth_database import (
    account_change,
    known_browser,
    passkey_challenge,
    pending_sign_in,
    session,
    user,
)
from dashboard.auth.passwords import AccountError, hash_password, matches, rehash
from runtime.clock import SystemClock
from runtime.translatable import Translatable
from schemas.contract.topics import ORG_MAX_LENGTH, is_id
from schemas.database.queries.fetch import fetch_first, fetch_mappings
from schemas.people.destinations import remove_owner

CHANGES = (
    *("add-person", "set-role", "set-password", "sign-out", "remove-person"),
    *("add-second-factor", "remove-second-factor", "reset-second-factor", "new-recovery-codes"),
    *("add-api-token", "revoke-api-token"),
)
"""The kinds of recorded changes. The codes are stored, so they keep their names."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_NAME_RULE = "a user's name is 1 to 64 lower-case letters, digits, dots, hyphens or underscores"
_TAKEN = "there is a user {name} already: choose another name"
_CHANGE_RETENTION_MILLISECONDS = 400 * 86_400_000


class UserRole(StrEnum):
    """Permissions of a user: read-only, run actions, or manage the organisation."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user."""

    id: int
    name: str
    role: UserRole
    org: str

    @classmethod
    def of(cls, row: Row[*tuple[Any, ...]]) -> "User":
        """Build from a row with these four columns."""
        return cls(row.id, row.name, UserRole(row.role), row.org)


def has_users(engine: Engine) -> bool:
    """Return True if at least one user exists."""
    return fetch_first(engine, select(user.c.id).limit(1)) is not None


def list_users(engine: Engine) -> list[dict[str, str]]:
    """Return name, role and organisation of all users, as `dashfleet user list --json` prints them."""
    return fetch_mappings(engine, select(user.c.name, user.c.role, user.c.org).order_by(user.c.name))


def add_user(engine: Engine, name: str, password: str, role: UserRole | str, org: str, *, by: str = "") -> None:
    """Add a user. Raises AccountError if the name is taken or an argument is invalid."""
    check(name, role, org)
    hashed = hash_password(password)
    with engine.begin() as connection:
        insert_user(connection, name, hashed, UserRole(role), org, by)


def set_password(engine: Engine, name: str, password: str, *, by: str = "") -> None:
    """Replace a user's password and end their sessions. Raises AccountError."""
    hashed = hash_password(password)
    with engine.begin() as connection:
        change_user(connection, _require_user(connection, name), by, "set-password", password_hash=hashed)


def remove_user(engine: Engine, name: str, *, by: str = "") -> None:
    """Remove a user and end their sessions. Raises AccountError."""
    with engine.begin() as connection:
        delete_user(connection, _require_user(connection, name), by)


def require_user(engine: Engine, name: str) -> None:
    """Raise AccountError if there is no user of this name."""
    with engine.connect() as connection:
        _require_user(connection, name)


def verify(engine: Engine, name: str, password: str) -> User | None:
    """Return the user with this name and password, or None; both answers take the same time."""
    row = fetch_first(engine, select(user).where(user.c.name == name))
    if not matches(row.password_hash if row else None, password) or row is None:
        return None
    if hashed := rehash(row.password_hash, password):
        with engine.begin() as connection:
            connection.execute(update(user).where(user.c.id == row.id).values(password_hash=hashed))
    return User.of(row)


def find_user(connection: Connection, name: str) -> User | None:
    """Return the user of this name, or None."""
    row = connection.execute(select(user).where(user.c.name == name)).first()
    return None if row is None else User.of(row)


def check(name: str, role: UserRole | str, org: str) -> None:
    """Raise AccountError if a user cannot have this name, role and organisation."""
    if not _NAME.fullmatch(name):
        raise AccountError(Translatable(_NAME_RULE), field="name")
    if role not in list(UserRole):
        raise AccountError(f"there is no role {role}: it is one of {', '.join(UserRole)}")
    if not is_id(org, ORG_MAX_LENGTH):
        raise AccountError(f"{org!r} cannot be an organisation: use lower-case letters, digits and hyphens")


def require_new(engine: Engine, name: str, role: UserRole | str, org: str) -> None:
    """Raise AccountError unless a user can be added with this name, role and organisation."""
    check(name, role, org)
    if fetch_first(engine, select(user.c.id).where(user.c.name == name)) is not None:
        raise AccountError(Translatable(_TAKEN, name=name), field="name")


def insert_user(connection: Connection, name: str, hashed: str, role: UserRole, org: str, by: str) -> User:
    """Insert a user whose name was checked. Raises AccountError, after which the transaction is unusable."""
    values = {"name": name, "password_hash": hashed, "role": role.value, "org": org}
    try:
        id_ = connection.execute(insert(user).values(values).returning(user.c.id)).scalar_one()
    except IntegrityError:
        raise AccountError(Translatable(_TAKEN, name=name), field="name") from None
    record_change(connection, org, by, "add-person", name, role.value)
    return User(id_, name, role, org)


def change_user(connection: Connection, who: User, by: str, kind: str, detail: str = "", **values: str) -> None:
    """Update columns of a user, if any, end their sessions and record the change."""
    if values:
        connection.execute(update(user).where(user.c.id == who.id).values(values))
    for table in (session, known_browser, pending_sign_in, passkey_challenge):
        connection.execute(delete(table).where(table.c.user_id == who.id))
    record_change(connection, who.org, by, kind, who.name, detail)


def delete_user(connection: Connection, who: User, by: str) -> None:
    """Delete a user, their sessions and their destinations."""
    change_user(connection, who, by, "remove-person")
    remove_owner(connection, who.org, who.name)
    connection.execute(delete(user).where(user.c.id == who.id))


def record_change(connection: Connection, org: str, by: str, kind: str, name: str, detail: str) -> None:
    """Record a change of one of the kinds CHANGES, and delete records past their retention."""
    oldest = SystemClock().now() - _CHANGE_RETENTION_MILLISECONDS
    row = {"org": org, "by": by[:64], "kind": kind, "name": name, "detail": detail[:64]}
    connection.execute(delete(account_change).where(account_change.c.at < oldest))
    connection.execute(insert(account_change).values(row))


def _require_user(connection: Connection, name: str) -> User:
    found = find_user(connection, name)
    if found is None:
        raise AccountError(f"there is no user {name}: dashfleet user list names them")
    return found
