"""Second factors of users with a password: those present and required, recovery codes, and sign-ins that wait for one.

Invariants:
- No session outlives a start that requires a second factor of its user, who has none.
- A user who has a second factor is signed in only with it: the password alone starts a pending sign-in, no session.
- A pending sign-in can add a first second factor, where the role requires one, and never change an existing one.
- A recovery code works once. Only its SHA-256 is stored; it is shown once, when it is made.
- Adding, removing or resetting a second factor ends all sessions of the user, and is recorded.
- Users of a single sign-on provider have no second factor here: the provider asks for it.
"""

import secrets
from base64 import b32encode
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import Engine, delete, exists, func, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from dashboard.auth.auth_database import (
    authenticator,
    identity,
    passkey,
    pending_sign_in,
    recovery_code,
    session,
    user,
)
from dashboard.auth.passwords import AccountError
from dashboard.auth.users import User, UserRole, change_user, find_user
from runtime.clock import Clock
from schemas.database.engine import DatabaseError
from schemas.database.queries.fetch import fetch_first

RECOVERY_CODES: Final = 10
PENDING_SECONDS: Final = 600
"""Time in which a sign-in must be completed after its password."""

ADDED, REMOVED, RESET, NEW_CODES = (
    "add-second-factor",
    "remove-second-factor",
    "reset-second-factor",
    "new-recovery-codes",
)
_GROUP: Final = 4


@dataclass(frozen=True, slots=True)
class HeldFactors:
    """The second factors of a user: an authenticator app, and numbers of passkeys and of unused recovery codes.

    `provided`: the user signs in with a single sign-on provider.
    """

    app: bool
    passkeys: int
    recovery_codes: int
    provided: bool = False

    def __bool__(self) -> bool:
        """True if the user has a second factor; recovery codes alone are none."""
        return self.app or self.passkeys > 0


class SecondFactors:
    """The second factors in one auth database. `required`: the roles that must have one."""

    def __init__(self, engine: Engine, clock: Clock, required: Collection[str] = ()) -> None:
        self._engine = engine
        self._clock = clock
        self._required = frozenset(required)

    def held(self, who: User) -> HeldFactors:
        """Return what a user has."""
        with self._engine.connect() as connection:
            return held_factors(connection, who)

    def is_required(self, role: UserRole) -> bool:
        """Return True if users of this role must have a second factor."""
        return role.value in self._required

    def end_sessions_without(self) -> None:
        """End the sessions of users whose role requires a second factor that they do not have. Raises DatabaseError.

        Called at the start, when the required roles may be others than before.
        """
        app = exists().where(authenticator.c.user_id == user.c.id, authenticator.c.confirmed)
        keys, provided = (exists().where(table.c.user_id == user.c.id) for table in (passkey, identity))
        without = select(user.c.id).where(user.c.role.in_(self._required), ~app, ~keys, ~provided)
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(session).where(session.c.user_id.in_(without)))
        except DBAPIError as error:
            raise DatabaseError(f"cannot end the sessions without a second factor: {error.orig}") from None

    def begin(self, who: User) -> str:
        """Start a pending sign-in after the password was verified; return the token for its cookie."""
        token, now = secrets.token_urlsafe(32), self._clock.now()
        row = {"token_hash": _hash(token), "user_id": who.id, "created_at": now}
        with self._engine.begin() as connection:
            connection.execute(delete(pending_sign_in).where(pending_sign_in.c.created_at <= self._oldest()))
            connection.execute(insert(pending_sign_in).values(row))
        return token

    def pending(self, token: str) -> User | None:
        """Return the user of a pending sign-in, or None."""
        if not token:
            return None
        mine = (pending_sign_in.c.token_hash == _hash(token)) & (pending_sign_in.c.created_at > self._oldest())
        columns = (user.c.id, user.c.name, user.c.role, user.c.org)
        row = fetch_first(self._engine, select(*columns).join_from(pending_sign_in, user).where(mine))
        return None if row is None else User.of(row)

    def pending_key(self, token: str) -> str:
        """Return a key for the pending sign-in of a token, from which the token cannot be found."""
        return f"pending:{_hash(_hash(token))[:32]}"

    def end(self, token: str) -> bool:
        """End a pending sign-in; return False if it has ended, so that it completes only once."""
        with self._engine.begin() as connection:
            ended = connection.execute(delete(pending_sign_in).where(pending_sign_in.c.token_hash == _hash(token)))
        return bool(ended.rowcount)

    def use_recovery_code(self, who: User, code: str) -> bool:
        """Return True if a user has this recovery code; it is then used."""
        mine = (recovery_code.c.user_id == who.id) & (recovery_code.c.code_hash == _hash(_bare(code)))
        with self._engine.begin() as connection:
            return bool(connection.execute(delete(recovery_code).where(mine)).rowcount)

    def _oldest(self) -> int:
        return self._clock.now() - PENDING_SECONDS * 1000


def held_factors(connection: Connection, who: User) -> HeldFactors:
    """Return what a user has."""
    confirmed = exists().where(authenticator.c.user_id == who.id, authenticator.c.confirmed)
    keys = select(func.count()).where(passkey.c.user_id == who.id).scalar_subquery()
    codes = select(func.count()).where(recovery_code.c.user_id == who.id).scalar_subquery()
    provided = exists().where(identity.c.user_id == who.id)
    app, passkeys, recovery_codes, elsewhere = connection.execute(select(confirmed, keys, codes, provided)).one()
    return HeldFactors(bool(app), passkeys, recovery_codes, bool(elsewhere))


def added(connection: Connection, who: User, detail: str) -> list[str]:
    """Record a second factor that was just stored; return new recovery codes if the user had none."""
    change_user(connection, who, who.name, ADDED, detail)
    return [] if held_factors(connection, who).recovery_codes else new_recovery_codes(connection, who)


def new_recovery_codes(connection: Connection, who: User) -> list[str]:
    """Replace the recovery codes of a user and return them."""
    codes = [_new_code() for _ in range(RECOVERY_CODES)]
    connection.execute(delete(recovery_code).where(recovery_code.c.user_id == who.id))
    rows = [{"code_hash": _hash(_bare(code)), "user_id": who.id} for code in codes]
    connection.execute(insert(recovery_code), rows)
    return codes


def reset(connection: Connection, who: User, by: str) -> None:
    """Remove all second factors of a user, so that the password alone signs in again."""
    for table in (authenticator, passkey, recovery_code, pending_sign_in):
        connection.execute(delete(table).where(table.c.user_id == who.id))
    change_user(connection, who, by, RESET)


def reset_second_factor(engine: Engine, name: str, *, by: str = "") -> None:
    """Remove all second factors of the user with this name. Raises AccountError."""
    with engine.begin() as connection:
        who = find_user(connection, name)
        if who is None:
            raise AccountError(f"there is no user {name}: dashfleet user list names them")
        if not held_factors(connection, who):
            raise AccountError(f"{name} has no second factor")
        reset(connection, who, by)


def _new_code() -> str:
    """Return 80 random bits as four groups of four characters."""
    text = b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _bare(code: str) -> str:
    return "".join(character for character in code.lower() if character.isalnum())


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
