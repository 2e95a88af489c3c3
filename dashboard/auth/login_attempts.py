"""Lockout after wrong passwords: retries of a user name and of an address are throttled.

Invariants:
- An attempt is counted as failed before the password is checked, so that parallel attempts gain nothing.
- An address that must wait leaves no trace: it locks no user name, and names that it invents are not stored.
"""

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from dashboard.auth.auth_database import attempt
from runtime.clock import Clock
from schemas.database.queries.fetch import fetch_first

USER_FREE_FAILURES = 5
ADDRESS_FREE_FAILURES = 20
_WAIT_MAX_SECONDS = 300
_FORGET_MILLISECONDS = 86_400_000


class LoginAttempts:
    """Failed attempts by user name and by address. After some free ones, each failure doubles the wait."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def admit(self, name: str, address: str) -> int:
        """Count an attempt as failed, until `succeeded` is called. Return 0, or the seconds to wait first."""
        (user_key, user_free), (address_key, address_free) = _keys(name, address)
        return self._count(address_key, address_free) or self._count(user_key, user_free)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name; of an address only this attempt, as it may be trying other names."""
        (user_key, _), (address_key, _) = _keys(name, address)
        counted = (attempt.c.key == address_key) & (attempt.c.failures > 0)
        values = {"failures": attempt.c.failures - 1, "next_at": self._clock.now()}
        with self._engine.begin() as connection:
            connection.execute(delete(attempt).where(attempt.c.key == user_key))
            connection.execute(update(attempt).where(counted).values(values))

    def _count(self, key: str, free: int) -> int:
        """Compare-and-set: of concurrent attempts, only one is admitted."""
        now = self._clock.now()
        row = fetch_first(self._engine, select(attempt).where(attempt.c.key == key))
        if row is not None and row.next_at > now:
            return int(-(-(row.next_at - now) // 1000))
        before = 0 if row is None or row.next_at < now - _FORGET_MILLISECONDS else row.failures
        values = {"failures": before + 1, "next_at": now + _wait_seconds(before + 1, free) * 1000}
        return 0 if self._store(key, None if row is None else row.failures, values) else 1

    def _store(self, key: str, seen: int | None, values: dict[str, int]) -> bool:
        """Store a count; return False if it changed since `seen` was read (None: no row). Expires old rows."""
        try:
            with self._engine.begin() as connection:
                if seen is None:
                    expired = attempt.c.next_at < self._clock.now() - _FORGET_MILLISECONDS
                    connection.execute(delete(attempt).where(expired))
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
