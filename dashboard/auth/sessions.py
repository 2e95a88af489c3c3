"""Who is signed in, and how often somebody may try to.

Invariants:
- Only the SHA-256 of a session's token is stored; a copy of the database signs nobody in.
- A session ends when it is not used for long, after its absolute age, at sign-out, and with its person.
- A failed attempt is counted before the password is checked, so that trying in parallel gains nothing.
- An address that must wait leaves no trace: it keeps no name locked, and the names that it makes up are not stored.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from dashboard.auth.accounts import Person, PersonRole, attempt, session, user

Now = Callable[[], int]

USER_FREE_FAILURES = 5
ADDRESS_FREE_FAILURES = 20
_WAIT_MAX_SECONDS = 300
_SEEN_GRAIN_MILLISECONDS = 30_000
_FORGET_MILLISECONDS = 86_400_000


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person, and an id for this session that gives nothing away."""

    id: str
    person: Person


class Sessions:
    """The sessions of one auth database, under a clock in milliseconds."""

    def __init__(self, engine: Engine, *, idle_seconds: int, max_seconds: int, now: Now) -> None:
        self._engine = engine
        self._idle = idle_seconds * 1000
        self._max = max_seconds * 1000
        self._now = now

    def start(self, person: Person, *, address: str = "", browser: str = "") -> str:
        """Sign a person in; returns the token for their cookie. Ended sessions are forgotten on the way."""
        token = secrets.token_urlsafe(32)
        now = self._now()
        row = {"token_hash": _hash(token), "user_id": person.id, "created_at": now, "seen_at": now}
        with self._engine.begin() as connection:
            connection.execute(
                delete(session).where(
                    (session.c.seen_at <= now - self._idle) | (session.c.created_at <= now - self._max)
                )
            )
            connection.execute(insert(session).values(**row, address=address[:64], browser=browser[:256]))
        return token

    def find(self, token: str, *, used: bool = False) -> Session | None:
        """The session behind a token, or None when it has ended. `used`: a person is there, so it stays alive."""
        key, now = _hash(token), self._now()
        query = (
            select(session.c.seen_at, user.c.id, user.c.name, user.c.role, user.c.org)
            .join_from(session, user)
            .where(session.c.token_hash == key, self.living())
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if used and now - row.seen_at >= _SEEN_GRAIN_MILLISECONDS:
            with self._engine.begin() as connection:
                connection.execute(update(session).where(session.c.token_hash == key).values(seen_at=now))
        return Session(_hash(key)[:16], Person(row.id, row.name, PersonRole(row.role), row.org))

    def living(self) -> ColumnElement[bool]:
        """The condition for sessions that have not ended."""
        now = self._now()
        return (session.c.seen_at > now - self._idle) & (session.c.created_at > now - self._max)

    def end(self, token: str) -> None:
        """Sign out."""
        with self._engine.begin() as connection:
            connection.execute(delete(session).where(session.c.token_hash == _hash(token)))


class Attempts:
    """Sign-in attempts: some are free, then each failure doubles the wait. Kept by name and by address."""

    def __init__(self, engine: Engine, *, now: Now) -> None:
        self._engine = engine
        self._now = now

    def admit(self, name: str, address: str) -> int:
        """Count an attempt as failed until `succeeded` says otherwise. Returns 0, or the seconds to wait first."""
        (user_key, user_free), (address_key, address_free) = _keys(name, address)
        return self._count(address_key, address_free) or self._count(user_key, user_free)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name; of an address only this attempt: it may try others."""
        now = self._now()
        (user_key, _), (address_key, _) = _keys(name, address)
        counted = (attempt.c.key == address_key) & (attempt.c.failures > 0)
        with self._engine.begin() as connection:
            connection.execute(delete(attempt).where(attempt.c.key == user_key))
            connection.execute(update(attempt).where(counted).values(failures=attempt.c.failures - 1, next_at=now))

    def _count(self, key: str, free: int) -> int:
        """Compare-and-set: of attempts made at the same time, only one is admitted."""
        now = self._now()
        with self._engine.begin() as connection:
            row = connection.execute(select(attempt).where(attempt.c.key == key)).first()
        if row is not None and row.next_at > now:
            return int(-(-(row.next_at - now) // 1000))
        before = 0 if row is None or row.next_at < now - _FORGET_MILLISECONDS else row.failures
        values = {"failures": before + 1, "next_at": now + _wait_seconds(before + 1, free) * 1000}
        return 0 if self._store(key, None if row is None else row.failures, values) else 1

    def _store(self, key: str, seen: int | None, values: dict[str, int]) -> bool:
        """Write a count, unless somebody changed it since it was seen (None: was not there). Old rows go first."""
        try:
            with self._engine.begin() as connection:
                if seen is None:
                    connection.execute(delete(attempt).where(attempt.c.next_at < self._now() - _FORGET_MILLISECONDS))
                    connection.execute(insert(attempt).values(key=key, **values))
                    return True
                same = (attempt.c.key == key) & (attempt.c.failures == seen)
                return bool(connection.execute(update(attempt).where(same).values(values)).rowcount)
        except IntegrityError:
            return False


def _keys(name: str, address: str) -> list[tuple[str, int]]:
    return [(f"user:{name[:64]}", USER_FREE_FAILURES), (f"address:{address[:64]}", ADDRESS_FREE_FAILURES)]


def _wait_seconds(failures: int, free: int) -> int:
    return 0 if failures < free else min(_WAIT_MAX_SECONDS, 1 << min(failures - free, 16))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
