"""Who has a credential: what a broker asks when somebody connects, and again with every message.

Invariants:
- `find` answers from memory and never waits, so it can be asked on an event loop and for every message.
- After a rotation the secret before is good, too, until its time is over.
- Who is revoked is not found. A row that contradicts itself (a role of a newer version, a username that is not its
  principal's) is not found either.
- While the table cannot be read, what was read last stays in force; `refresh` says so once and never raises for it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Engine, case, select
from sqlalchemy.exc import SQLAlchemyError

from broker.access.credentials import bcrypt_record, hash_secret, verify_secret
from broker.access.policy import Principal, Role
from schemas.database.tables import principal as table

log = logging.getLogger(__name__)

_Row = tuple[str, str, str, str, str, str | None, str | None]
_ROLES = frozenset(role.value for role in Role)


@dataclass(frozen=True, slots=True)
class CredentialEntry:
    """A principal and the record of its secret; after a rotation, for a while, also that of the secret before."""

    principal: Principal
    secret_hash: str
    previous_secret_hash: str | None = None
    bcrypt: str | None = None
    """The record of its secret for NATS, where that was made when the secret was known."""

    def record_of(self, secret: str) -> str | None:
        """The record that this secret fits, None when it fits none."""
        return next((record for record in self.records if verify_secret(secret, record)), None)

    @property
    def records(self) -> tuple[str, ...]:
        """The records of the secrets that are good now."""
        return tuple(filter(None, (self.secret_hash, self.previous_secret_hash)))


class Directory(Protocol):
    """Where a broker looks principals up."""

    def find(self, username: str) -> CredentialEntry | None:
        """The entry of a username, or None when there is none or it is revoked. Never waits, never raises."""
        ...

    def entries(self) -> Mapping[str, CredentialEntry]:
        """Every entry, by username. Never waits, never raises; the mapping does not change."""
        ...

    def refresh(self) -> frozenset[str]:
        """Read again what has changed since; returns the usernames whose entry changed or went. May wait."""
        ...


class MemoryDirectory:
    """A directory that is told what it holds: for tests and for embedding. Safe to change from any thread."""

    def __init__(self, secrets: Mapping[Principal, str] | None = None) -> None:
        self._entries: dict[str, CredentialEntry] = {}
        self._seen: dict[str, CredentialEntry] = {}
        for principal, secret in (secrets or {}).items():
            self.add(principal, secret)

    def add(self, principal: Principal, secret: str) -> None:
        """Let a principal in with this secret, instead of the one it had."""
        self._entries = {
            **self._entries,
            principal.username: CredentialEntry(principal, hash_secret(secret), bcrypt=bcrypt_record(secret)),
        }

    def revoke(self, username: str) -> None:
        """Let nobody in under this username any more."""
        self._entries = {name: entry for name, entry in self._entries.items() if name != username}

    def find(self, username: str) -> CredentialEntry | None:
        """The entry of a username; see `Directory`."""
        return self._entries.get(username)

    def entries(self) -> Mapping[str, CredentialEntry]:
        """Every entry; see `Directory`."""
        return self._entries

    def refresh(self) -> frozenset[str]:
        """The usernames changed since the last call; see `Directory`."""
        before, after = self._seen, self._entries
        self._seen = after
        return frozenset(name for name, entry in before.items() if after.get(name) != entry)


class TableDirectory:
    """The directory in the fleet's database, kept in memory. Empty until the first `refresh`.

    `now`: the wall clock in milliseconds, which ends the overlap of two secrets.
    """

    def __init__(self, engine: Engine, *, now: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._engine = engine
        self._now = now
        self._rows: list[_Row] = []
        self._entries: dict[str, CredentialEntry] = {}
        self._readable = True

    def find(self, username: str) -> CredentialEntry | None:
        """The entry of a username; see `Directory`."""
        return self._entries.get(username)

    def entries(self) -> Mapping[str, CredentialEntry]:
        """Every entry; see `Directory`."""
        return self._entries

    def refresh(self) -> frozenset[str]:
        """Read the table; see `Directory`. One query, and work only for the rows that changed."""
        try:
            rows = self._read()
        except SQLAlchemyError as error:
            if self._readable:
                log.warning("the principals cannot be read, those known stay in force: %s", str(error).splitlines()[0])
            self._readable = False
            return frozenset()
        self._readable = True
        if rows == self._rows:
            return frozenset()
        before, after, self._rows = frozenset(self._rows), frozenset(rows), rows
        gone, come = before - after, after - before
        ended = {username for username, *_ in gone}
        kept = {username: entry for username, entry in self._entries.items() if username not in ended}
        self._entries = {**kept, **_entries(come)}
        return frozenset(ended)

    def _read(self) -> list[_Row]:
        previous = case((table.c.previous_until > self._now(), table.c.previous_secret_hash))
        columns = (
            table.c.username,
            table.c.role,
            table.c.org,
            table.c.name,
            table.c.secret_hash,
            previous,
            table.c.bcrypt,
        )
        valid = select(*columns).where(table.c.revoked_at.is_(None))
        with self._engine.connect() as connection:
            rows = connection.execute(valid).all()
        return [tuple(row) for row in rows]  # plain tuples are compared much faster


def _entries(rows: Iterable[_Row]) -> dict[str, CredentialEntry]:
    entries: dict[str, CredentialEntry] = {}
    for username, role, org, name, record, previous, bcrypt in rows:
        entry = CredentialEntry(Principal(Role(role), org, name), record, previous, bcrypt) if role in _ROLES else None
        if entry is not None and entry.principal.username == username:
            entries[username] = entry
        else:
            log.warning("the principal %s contradicts itself (%s %s of %r): not let in", username, role, name, org)
    return entries
