"""What admins do with the people of their organisation, in the dashboard's own auth database.

Invariants:
- Who asks is looked up again in the transaction that makes the change: an admin of that organisation, now.
- Nobody of another organisation is found, or changed, whatever name is given.
- Nobody removes or demotes themselves, so an organisation that has an admin keeps one.
- Who signs in with a provider has the role that it grants, and no password here.
- A new password is returned once, for whoever asked, and stored as its hash only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, Row, exists, func, or_, select
from sqlalchemy.engine import Connection

from dashboard.auth import accounts
from dashboard.auth.accounts import AccountError, Person, PersonRole, account_change, identity, session, user
from dashboard.auth.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Admin:
    """Who asks, by their own session."""

    name: str
    org: str


class People:
    """The people of all organisations; each method sees one."""

    def __init__(self, engine: Engine, sessions: Sessions) -> None:
        self._engine = engine
        self._sessions = sessions

    def listed(self, org: str) -> list[Row[Any]]:
        """Everybody: name, role, since when, in how many sessions, when they were last seen in one, and whether a
        provider (`provided`) decides on their role.
        """
        provided = exists().where(identity.c.user_id == user.c.id)
        query = (
            select(
                user.c.name,
                user.c.role,
                user.c.created_at,
                func.count(session.c.token_hash).label("sessions"),
                func.max(session.c.seen_at).label("seen_at"),
                provided.label("provided"),
            )
            .select_from(user.outerjoin(session, (session.c.user_id == user.c.id) & self._sessions.living()))
            .where(user.c.org == org)
            .group_by(user.c.id, user.c.name, user.c.role, user.c.created_at)
            .order_by(user.c.name)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def sessions_of(self, org: str, name: str) -> list[Row[Any]]:
        """Where a person is signed in: address, browser, since when, and when they were last seen."""
        columns = (session.c[column] for column in ("address", "browser", "created_at", "seen_at"))
        query = (
            select(*columns)
            .join_from(session, user)
            .where(user.c.org == org, user.c.name == name, self._sessions.living())
            .order_by(session.c.seen_at.desc())
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query))

    def changes(self, org: str, *, search: str, limit: int) -> list[Row[Any]]:
        """Who changed what of whom, the newest first."""
        query = select(account_change).where(account_change.c.org == org)
        for word in search.split():
            fields = (account_change.c.by, account_change.c.name, account_change.c.kind)
            query = query.where(or_(*(each.icontains(word, autoescape=True) for each in fields)))
        with self._engine.connect() as connection:
            newest = query.order_by(account_change.c.at.desc(), account_change.c.id.desc()).limit(limit)
            return list(connection.execute(newest))

    def add(self, admin: Admin, name: str, role: PersonRole) -> str:
        """Let a person sign in; returns their password. Raises AccountError."""
        password = accounts.new_password()
        hashed = accounts.hash_password(password)
        with self._as(admin) as connection:
            accounts.insert_user(connection, name, hashed, role, admin.org, admin.name)
        return password

    def set_role(self, admin: Admin, name: str, role: PersonRole) -> None:
        """Give a person another role, and sign them out, as what they may is settled when they sign in."""
        with self._of(admin, name, ours=True) as (connection, person):
            accounts.change_user(connection, person, admin.name, "set-role", role.value, role=role.value)

    def reset_password(self, admin: Admin, name: str) -> str:
        """Give a person another password, and sign them out; returns it. Raises AccountError."""
        password = accounts.new_password()
        hashed = accounts.hash_password(password)
        with self._of(admin, name, ours=True) as (connection, person):
            accounts.change_user(connection, person, admin.name, "set-password", password_hash=hashed)
        return password

    def sign_out(self, admin: Admin, name: str) -> None:
        """End all sessions of a person. Raises AccountError."""
        with self._of(admin, name) as (connection, person):
            accounts.change_user(connection, person, admin.name, "sign-out")

    def remove(self, admin: Admin, name: str) -> None:
        """Let a person sign in no more. Raises AccountError."""
        with self._of(admin, name) as (connection, person):
            accounts.delete_user(connection, person, admin.name)

    @contextmanager
    def _as(self, admin: Admin) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            asking = accounts.find_user(connection, admin.name)
            if asking is None or asking.org != admin.org or asking.role is not PersonRole.ADMIN:
                raise AccountError("only admins may change this")
            yield connection

    @contextmanager
    def _of(self, admin: Admin, name: str, *, ours: bool = False) -> Iterator[tuple[Connection, Person]]:
        """`ours`: only somebody who signs in here, not with a provider."""
        with self._as(admin) as connection:
            person = accounts.find_user(connection, name)
            if person is None or person.org != admin.org:
                raise AccountError(f"there is nobody called {name} here")
            if person.name == admin.name:
                raise AccountError("nobody can do this to themselves: ask another admin")
            provided = select(identity.c.subject).where(identity.c.user_id == person.id)
            if ours and connection.execute(provided).first() is not None:
                raise AccountError(f"{name} signs in with your provider: change it there")
            yield connection, person


PEOPLE: Final[dict[str, People]] = {}
"""Those of this process, as `dashboard.publishing.publisher.PUBLISHERS`."""
