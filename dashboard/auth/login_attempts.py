"""Lockout after wrong passwords: retries are throttled by user name and address, by address, and by name per day.

Invariants:
- An attempt is counted as failed before the password is checked, so that parallel attempts gain nothing.
- Failures at one address never delay the owner of the name at another. The bound on a name alone is above what one
  address can fail in a day, and holds against guesses from many addresses.
- A browser in which the user signed in before has a count of its own: failures elsewhere do not delay it.
- An address that must wait leaves no trace: it locks no user name, and names that it invents are not stored.
- Codes of a second factor are counted by user alone, wherever they come from: only who knows the password can try them.
"""

from ipaddress import IPv6Address, ip_address

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from dashboard.auth.auth_database import attempt
from runtime.clock import Clock
from schemas.database.queries.fetch import fetch_first

USER_FREE_FAILURES = 5
"""Of one name at one address, or in one known browser."""

ADDRESS_FREE_FAILURES = 20
NAME_FREE_FAILURES_PER_DAY = 1000
_WAIT_MAX_SECONDS = 300
_FORGET_MILLISECONDS = 86_400_000
_NETWORK_BITS = 64
"""An IPv6 client has a network of its own, and counts as one address."""


class LoginAttempts:
    """Failed attempts. After some free ones, each failure doubles the wait.

    `browser`: id of the known browser of this name, or empty (see `known_browsers`).
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def admit(self, name: str, address: str, browser: str = "") -> int:
        """Count an attempt as failed, until `succeeded` is called. Return 0, or the seconds to wait first."""
        for key, free in self._keys(name, address, browser):
            if wait := self._count(key, free):
                return wait
        return 0

    def succeeded(self, name: str, address: str, browser: str = "") -> None:
        """Forget the failures of a name at this address; of others only this attempt, as they may be other clients'."""
        *shared, (own, _) = self._keys(name, address, browser)
        counted = attempt.c.key.in_([key for key, _ in shared]) & (attempt.c.failures > 0)
        values = {"failures": attempt.c.failures - 1, "next_at": self._clock.now()}
        with self._engine.begin() as connection:
            connection.execute(delete(attempt).where(attempt.c.key == own))
            connection.execute(update(attempt).where(counted).values(values))

    def admit_code(self, name: str) -> int:
        """Count an attempt with a code of a second factor as failed, as `admit` does for a password."""
        return self._count(_code_key(name), USER_FREE_FAILURES)

    def code_succeeded(self, name: str) -> None:
        """Forget the failed codes of a user."""
        with self._engine.begin() as connection:
            connection.execute(delete(attempt).where(attempt.c.key == _code_key(name)))

    def _keys(self, name: str, address: str, browser: str) -> list[tuple[str, int]]:
        """Return what to count in this order, with the number of free failures; the last is this client's own."""
        if browser:
            return [(f"browser:{browser}", USER_FREE_FAILURES)]
        name, address = name[:64], _network(address)[:64]
        today = self._clock.now() // _FORGET_MILLISECONDS
        return [
            (f"address:{address}", ADDRESS_FREE_FAILURES),
            (f"name:{name}:{today}", NAME_FREE_FAILURES_PER_DAY),
            (f"user:{name}@{address}", USER_FREE_FAILURES),
        ]

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


def _code_key(name: str) -> str:
    return f"code:{name[:64]}"


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> _NETWORK_BITS << _NETWORK_BITS))


def _wait_seconds(failures: int, free: int) -> int:
    return 0 if failures < free else min(_WAIT_MAX_SECONDS, 1 << min(failures - free, 16))
