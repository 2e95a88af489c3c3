"""API tokens: one for each program that uses the HTTP API, with an organisation, a role and an expiry.

Invariants:
- A token is returned once, when it is created; only its SHA-256 is stored.
- A token is found by its hash, and the hashes are compared in constant time: how long a wrong token takes reveals
  nothing about a right one.
- A token is valid until it expires or is revoked, for the organisation that existed when it was created.
- Creating and revoking are recorded with their author, in the same transaction.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from dashboard.auth.passwords import AccountError
from dashboard.auth.user_administration import Admin, require_admin
from dashboard.auth.users import UserRole, record_change
from runtime.clock import Clock
from runtime.rate_limited_log import RateLimitedLog
from runtime.translatable import Translatable
from schemas.contract.topics import is_id
from schemas.database.queries.fetch import fetch_all, fetch_first
from schemas.people.api_token_table import api_token

PREFIX: Final = "dashfleet_"
"""Start of every token, by which scanners recognise one that was published by mistake."""

TOKENS_MAX: Final = 100
"""Tokens of one organisation."""

LIFETIME_MAX_SECONDS: Final = 10 * 365 * 86_400
_TOKEN: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_USED_GRAIN_MILLISECONDS: Final = 60_000
_log = RateLimitedLog(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class ApiClient:
    """A program with a valid token. `created_at` of its token, in milliseconds."""

    id: int
    org: str
    name: str
    role: UserRole
    created_at: int


class ApiTokens:
    """The tokens in the people's database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def find(self, token: str) -> ApiClient | None:
        """Return the program that has this token, and record its use; None if the token is unknown or has expired."""
        if not _TOKEN.fullmatch(token):
            return None
        hashed, now = _hash(token), self._clock.now()
        row = fetch_first(self._engine, select(api_token).where(api_token.c.token_hash == hashed))
        if row is None or not hmac.compare_digest(row.token_hash, hashed) or row.expires_at <= now:
            return None
        if row.used_at is None or now - row.used_at >= _USED_GRAIN_MILLISECONDS:
            self._store_use(row.id, now)
        return ApiClient(row.id, row.org, row.name, UserRole(row.role), row.created_at)

    def listed(self, org: str | None = None) -> list[Row[Any]]:
        """Return the tokens of an organisation, or of all, without their hashes: org, name, role, created_at,
        created_by, expires_at and used_at.
        """
        names = ("org", "name", "role", "created_at", "created_by", "expires_at", "used_at")
        query = select(*(api_token.c[name] for name in names)).order_by(api_token.c.org, api_token.c.name)
        return fetch_all(self._engine, query if org is None else query.where(api_token.c.org == org))

    def create(self, org: str, name: str, role: UserRole, *, seconds: float, by: str) -> str:
        """Create a token that is valid for `seconds`, and return it. Raises AccountError."""
        with self._engine.begin() as connection:
            return self._create(connection, org, name, role, seconds, by)

    def create_as(self, admin: Admin, name: str, role: UserRole, *, seconds: float) -> str:
        """Create a token for the organisation of an admin. Raises AccountError, also if the caller is no admin now."""
        with self._as(admin) as connection:
            return self._create(connection, admin.org, name, role, seconds, admin.name)

    def revoke(self, org: str, name: str, *, by: str) -> None:
        """Delete a token: its program is rejected from now on. Raises AccountError if there is none of this name."""
        with self._engine.begin() as connection:
            _revoke(connection, org, name, by)

    def revoke_as(self, admin: Admin, name: str) -> None:
        """Delete a token of the organisation of an admin. Raises AccountError, also if the caller is no admin now."""
        with self._as(admin) as connection:
            _revoke(connection, admin.org, name, admin.name)

    @contextmanager
    def _as(self, admin: Admin) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            require_admin(connection, admin)
            yield connection

    def _create(self, connection: Connection, org: str, name: str, role: UserRole, seconds: float, by: str) -> str:
        if not is_id(name):
            rule = Translatable("the name of a token is 1 to 63 lower-case letters, digits and inner hyphens")
            raise AccountError(rule, field="name")
        if not 1 <= seconds <= LIFETIME_MAX_SECONDS:
            raise AccountError("an API token is valid for 1 second to 10 years")
        number = select(func.count()).select_from(api_token).where(api_token.c.org == org)
        if connection.execute(number).scalar_one() >= TOKENS_MAX:
            raise AccountError(f"{org} has {TOKENS_MAX} API tokens, which is the maximum: revoke one first")
        token, now = PREFIX + secrets.token_urlsafe(32), self._clock.now()
        row = {"org": org, "name": name, "role": role.value, "token_hash": _hash(token), "created_by": by[:64]}
        try:
            values = {**row, "created_at": now, "expires_at": now + round(seconds * 1000)}
            connection.execute(insert(api_token).values(values))
        except IntegrityError:
            taken = Translatable(
                "there is an API token {name} already: revoke it first, or choose another name", name=name
            )
            raise AccountError(taken, field="name") from None
        record_change(connection, org, by, "add-api-token", name, role.value)
        return token

    def _store_use(self, id_: int, now: int) -> None:
        """Store when a token was used. A failure, as on a full disk, must not keep a program from reading."""
        try:
            with self._engine.begin() as connection:
                connection.execute(update(api_token).where(api_token.c.id == id_).values(used_at=now))
        except DBAPIError as error:
            _log.warning("api-token", "cannot store the use of an API token: %s", error.orig)


def _revoke(connection: Connection, org: str, name: str, by: str) -> None:
    found = connection.execute(delete(api_token).where(api_token.c.org == org, api_token.c.name == name))
    if not found.rowcount:
        raise AccountError(f"there is no API token {name} in {org}: dashfleet api-token list names them")
    record_change(connection, org, by, "revoke-api-token", name, "")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
