"""Sessions of signed-in users.

Invariants:
- Only the SHA-256 of a session's token is stored; a copy of the database signs nobody in.
- A session ends when it was idle for too long, at its maximum age, at sign-out, and with its user.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, delete, insert, select, update
from sqlalchemy.exc import DBAPIError

from dashboard.auth.auth_database import session, user
from dashboard.auth.users import User
from runtime.clock import Clock
from runtime.rate_limited_log import RateLimitedLog
from schemas.database.queries.fetch import fetch_first

_log = RateLimitedLog(logging.getLogger(__name__))
_SEEN_GRAIN_MILLISECONDS = 30_000


@dataclass(frozen=True, slots=True)
class SignInSession:
    """A signed-in user. `id` identifies the session and reveals nothing of its token."""

    id: str
    user: User


class SignInSessions:
    """The sessions in one auth database."""

    def __init__(self, engine: Engine, clock: Clock, *, idle_seconds: int, max_seconds: int) -> None:
        self._engine = engine
        self._clock = clock
        self._idle = idle_seconds * 1000
        self._max = max_seconds * 1000

    def start(self, who: User, *, address: str = "", browser: str = "") -> str:
        """Start a session and return the token for its cookie. Deletes sessions that have ended."""
        token, now = secrets.token_urlsafe(32), self._clock.now()
        row = {"token_hash": _hash(token), "user_id": who.id, "created_at": now, "seen_at": now}
        with self._engine.begin() as connection:
            connection.execute(delete(session).where(~self.living()))
            connection.execute(insert(session).values(**row, address=address[:64], browser=browser[:256]))
        return token

    def find(self, token: str, *, used: bool = False) -> SignInSession | None:
        """Return the session of a token, or None if it has ended. `used` resets its idle time."""
        key, now = _hash(token), self._clock.now()
        query = (
            select(session.c.seen_at, user.c.id, user.c.name, user.c.role, user.c.org)
            .join_from(session, user)
            .where(session.c.token_hash == key, self.living())
        )
        row = fetch_first(self._engine, query)
        if row is None:
            return None
        if used and now - row.seen_at >= _SEEN_GRAIN_MILLISECONDS:
            self._store_use(key, now)
        return SignInSession(_hash(key)[:16], User.of(row))

    def _store_use(self, key: str, now: int) -> None:
        """Store when a session was used. A failure, as on a full disk, must not keep a user from reading."""
        try:
            with self._engine.begin() as connection:
                connection.execute(update(session).where(session.c.token_hash == key).values(seen_at=now))
        except DBAPIError as error:
            _log.warning("auth-database", "cannot store the use of a session: %s", error.orig)

    def living(self) -> ColumnElement[bool]:
        """Return the SQL condition for sessions that have not ended."""
        now = self._clock.now()
        return (session.c.seen_at > now - self._idle) & (session.c.created_at > now - self._max)

    def end(self, token: str) -> None:
        """End the session of a token, if there is one."""
        with self._engine.begin() as connection:
            connection.execute(delete(session).where(session.c.token_hash == _hash(token)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
