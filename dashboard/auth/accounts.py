"""Who may sign in: the people, in a database of the dashboard's own.

Invariants:
- A password is stored only as argon2id; an unknown name costs as much time as a wrong password.
- A new password, or removing somebody, ends all sessions of theirs.
- A person belongs to one organisation. It decides every query; nothing in an address does.
- A change is recorded with who made it, in the same transaction.
- The database's file can be read by its owner only, from the moment it exists.
"""

import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from runtime.errors import UserError
from schemas.contract.topics import ORG_MAX_LENGTH, is_id
from schemas.database.engine import DatabaseError, open_engine, shown_url

PASSWORD_MIN_LENGTH = 12
PASSWORD_MAX_LENGTH = 1024

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash("nobody has this password")
_HASHING = threading.BoundedSemaphore(2)  # each takes 64 MiB: a flood of sign-ins must not take the machine's memory

metadata = MetaData()

user = Table(
    "user",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", String(200), nullable=False, comment="argon2id"),
    Column("role", String(16), nullable=False),
    Column("org", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

identity = Table(
    "identity",
    metadata,
    Column("subject", String(512), primary_key=True, comment="JSON: an OpenID Connect provider, and its sub"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("token_hash", String(64), primary_key=True, comment="SHA-256; the token itself is only in the cookie"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("browser", String(256), nullable=False),
)

attempt = Table(
    "attempt",
    metadata,
    Column("key", String(160), primary_key=True, comment="user:NAME or address:IP"),
    Column("failures", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False, comment="refused before this time"),
)

account_change = Table(
    "account_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org", String(32), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("by", String(64), nullable=False, comment="a person, or whoever ran a command on the server"),
    Column("kind", String(32), nullable=False, comment="a key of CHANGES"),
    Column("name", String(64), nullable=False, comment="whom it is about"),
    Column("detail", String(64), nullable=False, comment="such as the role"),
)

CHANGES = ("add-person", "set-role", "set-password", "sign-out", "remove-person")
_KEPT_MILLISECONDS = 400 * 86_400_000


class AccountError(UserError):
    """A person cannot be added or changed; the message is one sentence for whoever tried."""


class PersonRole(StrEnum):
    """What a person may do: look, act, or manage."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who proved who they are."""

    id: int
    name: str
    role: PersonRole
    org: str


def open_accounts(url: str) -> Engine:
    """The auth database, created when it is not there yet. Raises DatabaseError."""
    engine = open_engine(url)
    path = make_url(url).database
    try:
        if engine.dialect.name == "sqlite" and path:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        metadata.create_all(engine)
    except OSError as error:
        raise DatabaseError(f"cannot open the auth database {path}: {error.strerror}") from None
    except DBAPIError as error:
        raise DatabaseError(f"cannot open the auth database {shown_url(engine)}: {error.orig}") from None
    return engine


def has_users(engine: Engine) -> bool:
    """Whether anybody can sign in."""
    with engine.connect() as connection:
        return connection.execute(select(user.c.id).limit(1)).first() is not None


def add_user(engine: Engine, name: str, password: str, role: PersonRole | str, org: str, *, by: str = "") -> None:
    """Let a person sign in. Raises AccountError when the name is taken or something given is not allowed."""
    _check(name, role, org)
    hashed = hash_password(password)
    with engine.begin() as connection:
        insert_user(connection, name, hashed, PersonRole(role), org, by)


def insert_user(connection: Connection, name: str, hashed: str, role: PersonRole, org: str, by: str) -> None:
    """Write a person. Raises AccountError, after which nothing else can be done in this transaction."""
    _check(name, role, org)
    row = {"name": name, "password_hash": hashed, "role": role.value, "org": org}
    try:
        connection.execute(insert(user).values(**row, created_at=time.time_ns() // 1_000_000))
    except IntegrityError:
        raise AccountError(f"there is a user {name} already: choose another name") from None
    record(connection, org, by, "add-person", name, role.value)


def list_users(engine: Engine) -> list[dict[str, str]]:
    """Everybody's name, role and organisation, in the form that `dashfleet user list --json` documents."""
    with engine.connect() as connection:
        rows = connection.execute(select(user.c.name, user.c.role, user.c.org).order_by(user.c.name))
        return [dict(row) for row in rows.mappings()]


def set_password(engine: Engine, name: str, password: str, *, by: str = "") -> None:
    """Give a person another password and sign them out everywhere. Raises AccountError."""
    hashed = hash_password(password)
    with engine.begin() as connection:
        person = _require_user(connection, name)
        change_user(connection, person, by, "set-password", password_hash=hashed)


def remove_user(engine: Engine, name: str, *, by: str = "") -> None:
    """Let a person sign in no more, and sign them out everywhere. Raises AccountError."""
    with engine.begin() as connection:
        delete_user(connection, _require_user(connection, name), by)


def hash_password(password: str) -> str:
    """What is stored of a password. Raises AccountError."""
    _check_password(password)
    return _HASHER.hash(password)


def change_user(connection: Connection, person: Person, by: str, kind: str, detail: str = "", **values: str) -> None:
    """Change what is stored of a person, and sign them out everywhere."""
    if values:
        connection.execute(update(user).where(user.c.id == person.id).values(values))
    connection.execute(delete(session).where(session.c.user_id == person.id))
    record(connection, person.org, by, kind, person.name, detail)


def delete_user(connection: Connection, person: Person, by: str) -> None:
    """Remove a person, and their sessions."""
    change_user(connection, person, by, "remove-person")
    connection.execute(delete(user).where(user.c.id == person.id))


def record(connection: Connection, org: str, by: str, kind: str, name: str, detail: str = "") -> None:
    """Write down who changed what of whom. What is very old is forgotten."""
    now = time.time_ns() // 1_000_000
    row = {"org": org, "at": now, "by": by[:64], "kind": kind, "name": name, "detail": detail[:64]}
    connection.execute(delete(account_change).where(account_change.c.at < now - _KEPT_MILLISECONDS))
    connection.execute(insert(account_change).values(row))


def require_user(engine: Engine, name: str) -> None:
    """Raise AccountError when there is nobody of this name."""
    with engine.connect() as connection:
        _require_user(connection, name)


def new_password() -> str:
    """A password that nobody can guess."""
    return secrets.token_urlsafe(12)


def verify(engine: Engine, name: str, password: str) -> Person | None:
    """The person with this name and password, or None; both answers take the same time."""
    with engine.connect() as connection:
        row = connection.execute(select(user).where(user.c.name == name)).first()
    stored = row.password_hash if row else _NOBODY
    if len(password) > PASSWORD_MAX_LENGTH or not _matches(stored, password) or row is None:
        return None
    if _HASHER.check_needs_rehash(stored):
        with engine.begin() as connection:
            connection.execute(update(user).where(user.c.id == row.id).values(password_hash=_HASHER.hash(password)))
    return Person(row.id, row.name, PersonRole(row.role), row.org)


def find_user(connection: Connection, name: str) -> Person | None:
    """The person of this name."""
    row = connection.execute(select(user).where(user.c.name == name)).first()
    return None if row is None else Person(row.id, row.name, PersonRole(row.role), row.org)


def _require_user(connection: Connection, name: str) -> Person:
    person = find_user(connection, name)
    if person is None:
        raise AccountError(f"there is no user {name}: dashfleet user list names them")
    return person


def _matches(stored: str, password: str) -> bool:
    with _HASHING:
        try:
            return _HASHER.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def _check(name: str, role: PersonRole | str, org: str) -> None:
    if not _NAME.fullmatch(name):
        raise AccountError("a user's name is 1 to 64 lower-case letters, digits, dots, hyphens or underscores")
    if role not in list(PersonRole):
        raise AccountError(f"there is no role {role}: it is one of {', '.join(PersonRole)}")
    if not is_id(org, ORG_MAX_LENGTH):
        raise AccountError(f"{org!r} cannot be an organisation: use lower-case letters, digits and hyphens")


def _check_password(password: str) -> None:
    if not PASSWORD_MIN_LENGTH <= len(password) <= PASSWORD_MAX_LENGTH:
        raise AccountError(f"a password has {PASSWORD_MIN_LENGTH} to {PASSWORD_MAX_LENGTH} characters")
