"""Administration of an organisation's users, by its admins.

Invariants:
- The caller is looked up again in the transaction that makes the change: an admin of that organisation, now.
- Users of other organisations are never found or changed, whatever name is given.
- Admins cannot remove or demote themselves, so an organisation that has an admin keeps one.
- Users of a single sign-on provider have the role that it grants, and no password here.
- A generated password is returned once and stored as its hash only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, exists, func, select
from sqlalchemy.engine import Connection

from dashboard.auth import second_factor, users
from dashboard.auth.auth_database import account_change, authenticator, identity, passkey, session, user
from dashboard.auth.passwords import AccountError, hash_password, new_password
from dashboard.auth.sign_in_sessions import SignInSessions
from dashboard.auth.users import User, UserRole
from schemas.database.events.event_queries import EventRange, select_newest
from schemas.database.queries.fetch import fetch_all
from schemas.database.text_search import contains_each


@dataclass(frozen=True, slots=True)
class Admin:
    """The caller, as named by their own session."""

    name: str
    org: str


def require_admin(connection: Connection, admin: Admin) -> None:
    """Raise AccountError unless the caller is an admin of the organisation, now."""
    caller = users.find_user(connection, admin.name)
    if caller is None or caller.org != admin.org or caller.role is not UserRole.ADMIN:
        raise AccountError("only admins may change this")


class UserAdministration:
    """The users of all organisations; each method is limited to one."""

    def __init__(self, engine: Engine, sessions: SignInSessions) -> None:
        self._engine = engine
        self._sessions = sessions

    def listed(self, org: str) -> list[Row[Any]]:
        """Return all users: name, role, created_at, number of sessions, seen_at (of the latest session),
        `provided`: a single sign-on provider decides on their role, and `second_factor`: they have one.
        """
        app = exists().where(authenticator.c.user_id == user.c.id, authenticator.c.confirmed)
        second = app | exists().where(passkey.c.user_id == user.c.id)
        provided = exists().where(identity.c.user_id == user.c.id)
        query = (
            select(
                user.c.name,
                user.c.role,
                user.c.created_at,
                func.count(session.c.token_hash).label("sessions"),
                func.max(session.c.seen_at).label("seen_at"),
                provided.label("provided"),
                second.label("second_factor"),
            )
            .select_from(user.outerjoin(session, (session.c.user_id == user.c.id) & self._sessions.living()))
            .where(user.c.org == org)
            .group_by(user.c.id, user.c.name, user.c.role, user.c.created_at)
            .order_by(user.c.name)
        )
        return fetch_all(self._engine, query)

    def sessions_of(self, org: str, name: str) -> list[Row[Any]]:
        """Return a user's sessions, the last used first: address, browser, created_at, seen_at."""
        columns = (session.c[column] for column in ("address", "browser", "created_at", "seen_at"))
        query = (
            select(*columns)
            .join_from(session, user)
            .where(user.c.org == org, user.c.name == name, self._sessions.living())
            .order_by(session.c.seen_at.desc())
        )
        return fetch_all(self._engine, query)

    def changes(self, org: str, wanted: EventRange) -> list[Row[Any]]:
        """Return the recorded changes of a time range that match all words of its search, the newest first."""
        fields = (account_change.c.by, account_change.c.name, account_change.c.kind)
        found = contains_each(wanted.search, *fields)
        query = select_newest(account_change, account_change.c.at, wanted, account_change.c.org == org, *found)
        return fetch_all(self._engine, query)

    def add(self, admin: Admin, name: str, role: UserRole) -> str:
        """Add a user and return the generated password. Raises AccountError."""
        users.check(name, role, admin.org)
        password = new_password()
        hashed = hash_password(password)
        with self._as(admin) as connection:
            users.insert_user(connection, name, hashed, role, admin.org, admin.name)
        return password

    def set_role(self, admin: Admin, name: str, role: UserRole) -> None:
        """Change a user's role and end their sessions, which hold the old one. Raises AccountError."""
        with self._of(admin, name, local=True) as (connection, who):
            users.change_user(connection, who, admin.name, "set-role", role.value, role=role.value)

    def reset_password(self, admin: Admin, name: str) -> str:
        """Replace a user's password, end their sessions and return the generated password. Raises AccountError."""
        password = new_password()
        hashed = hash_password(password)
        with self._of(admin, name, local=True) as (connection, who):
            users.change_user(connection, who, admin.name, "set-password", password_hash=hashed)
        return password

    def reset_second_factor(self, admin: Admin, name: str) -> None:
        """Remove a user's second factors and end their sessions. Raises AccountError."""
        with self._of(admin, name, local=True) as (connection, who):
            second_factor.reset(connection, who, admin.name)

    def sign_out(self, admin: Admin, name: str) -> None:
        """End all sessions of a user. Raises AccountError."""
        with self._of(admin, name) as (connection, who):
            users.change_user(connection, who, admin.name, "sign-out")

    def remove(self, admin: Admin, name: str) -> None:
        """Remove a user. Raises AccountError."""
        with self._of(admin, name) as (connection, who):
            users.delete_user(connection, who, admin.name)

    @contextmanager
    def _as(self, admin: Admin) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            require_admin(connection, admin)
            yield connection

    @contextmanager
    def _of(self, admin: Admin, name: str, *, local: bool = False) -> Iterator[tuple[Connection, User]]:
        """Open a transaction on a user. `local`: only if they sign in here, not with a provider."""
        with self._as(admin) as connection:
            who = users.find_user(connection, name)
            if who is None or who.org != admin.org:
                raise AccountError(f"there is no user {name} in this organisation")
            if who.name == admin.name:
                raise AccountError("admins cannot do this to themselves: ask another admin")
            provided = select(identity.c.subject).where(identity.c.user_id == who.id)
            if local and connection.execute(provided).first() is not None:
                raise AccountError(f"{name} signs in with your single sign-on provider: change it there")
            yield connection, who
