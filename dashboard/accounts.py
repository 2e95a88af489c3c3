"""Who may sign in: the people, in a database of the dashboard's own.

Invariants:
- A password is stored only as argon2id; an unknown name costs as much time as a wrong password.
- A new password, or removing somebody, ends all sessions of theirs.
- A person belongs to one organisation. It decides every query; nothing in an address does.
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

from schemas.database import DatabaseError, open_engine, shown_url
from schemas.errors import StartError
from schemas.topics import ORG_MAX_LENGTH, is_id

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


class AccountError(StartError):
    """A person cannot be added or changed; the message is one sentence for whoever tried."""


class Role(StrEnum):
    """What a person may do: look, act, or manage."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who proved who they are."""

    id: int
    name: str
    role: Role
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


def add_user(engine: Engine, name: str, password: str, role: Role | str, org: str) -> None:
    """Let a person sign in. Raises AccountError when the name is taken or something given is not allowed."""
    _check(name, password, role, org)
    row = {
        "name": name,
        "password_hash": _HASHER.hash(password),
        "role": Role(role).value,
        "org": org,
        "created_at": time.time_ns() // 1_000_000,
    }
    try:
        with engine.begin() as connection:
            connection.execute(insert(user).values(row))
    except IntegrityError:
        raise AccountError(f"there is a user {name} already: choose another name") from None


def list_users(engine: Engine) -> list[dict[str, str]]:
    """Everybody's name, role and organisation, in the form that `dashfleet user list --json` documents."""
    with engine.connect() as connection:
        rows = connection.execute(select(user.c.name, user.c.role, user.c.org).order_by(user.c.name))
        return [dict(row) for row in rows.mappings()]


def set_password(engine: Engine, name: str, password: str) -> None:
    """Give a person another password and sign them out everywhere. Raises AccountError."""
    _check_password(password)
    hashed = _HASHER.hash(password)
    with engine.begin() as connection:
        person = _require_user(connection, name)
        connection.execute(update(user).where(user.c.id == person).values(password_hash=hashed))
        connection.execute(delete(session).where(session.c.user_id == person))


def remove_user(engine: Engine, name: str) -> None:
    """Let a person sign in no more, and sign them out everywhere. Raises AccountError."""
    with engine.begin() as connection:
        person = _require_user(connection, name)
        connection.execute(delete(session).where(session.c.user_id == person))
        connection.execute(delete(user).where(user.c.id == person))


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
    return Person(row.id, row.name, Role(row.role), row.org)


def _require_user(connection: Connection, name: str) -> int:
    row = connection.execute(select(user.c.id).where(user.c.name == name)).first()
    if row is None:
        raise AccountError(f"there is no user {name}: dashfleet user list names them")
    return int(row.id)


def _matches(stored: str, password: str) -> bool:
    with _HASHING:
        try:
            return _HASHER.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def _check(name: str, password: str, role: Role | str, org: str) -> None:
    if not _NAME.fullmatch(name):
        raise AccountError("a user's name is 1 to 64 lower-case letters, digits, dots, hyphens or underscores")
    _check_password(password)
    if role not in list(Role):
        raise AccountError(f"there is no role {role}: it is one of {', '.join(Role)}")
    if not is_id(org, ORG_MAX_LENGTH):
        raise AccountError(f"{org!r} cannot be an organisation: use lower-case letters, digits and hyphens")


def _check_password(password: str) -> None:
    if not PASSWORD_MIN_LENGTH <= len(password) <= PASSWORD_MAX_LENGTH:
        raise AccountError(f"a password has {PASSWORD_MIN_LENGTH} to {PASSWORD_MAX_LENGTH} characters")
