"""Directory of principals: looked up when a client connects, and again for every message.

Invariants:
- `find` answers from memory and never waits, so it can be called on an event loop for every message.
- After a rotation the previous secret is valid as well, until its overlap ends.
- A revoked principal is not found. An inconsistent row (an unknown role, a username that does not belong to its
  principal) is not found either.
- While the table cannot be read, the entries read last stay in force; `refresh` logs that once and never raises.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Engine, case, select
from sqlalchemy.exc import SQLAlchemyError

from broker.access.credentials import bcrypt_record, hash_secret, verify_secret
from broker.access.policy import Principal, Role
from runtime.clock import Clock, SystemClock
from schemas.database.tables import principal as table

log = logging.getLogger(__name__)

_Row = tuple[str, str, str, str, str, str | None, str | None]
_ROLES = frozenset(role.value for role in Role)


@dataclass(frozen=True, slots=True)
class CredentialEntry:
    """A principal and the record of its secret; during the overlap of a rotation also of the previous secret."""

    principal: Principal
    secret_hash: str
    previous_secret_hash: str | None = None
    bcrypt: str | None = None
    """Record for NATS, if one was made when the secret was created."""

    def record_of(self, secret: str) -> str | None:
        """Return the record that this secret matches, or None."""
        return next((record for record in self.records if verify_secret(secret, record)), None)

    @property
    def records(self) -> tuple[str, ...]:
        """Records of the secrets that are valid now."""
        return tuple(filter(None, (self.secret_hash, self.previous_secret_hash)))


class Directory(Protocol):
    """Directory of principals, as a broker uses it."""

    def find(self, username: str) -> CredentialEntry | None:
        """Return the entry of a username, None if it is unknown or revoked. Never waits, never raises."""
        ...

    def entries(self) -> Mapping[str, CredentialEntry]:
        """Return an immutable snapshot of all entries by username. Never waits, never raises."""
        ...

    def refresh(self) -> frozenset[str]:
        """Read what changed; return the usernames whose entry changed or was removed. May wait."""
        ...


class MemoryDirectory:
    """A directory in memory, for tests and for embedding. Thread-safe."""

    def __init__(self, secrets: Mapping[Principal, str] | None = None) -> None:
        self._entries: dict[str, CredentialEntry] = {}
        self._seen: dict[str, CredentialEntry] = {}
        for principal, secret in (secrets or {}).items():
            self.add(principal, secret)

    def add(self, principal: Principal, secret: str) -> None:
        """Add a principal with this secret, or replace its secret."""
        self._entries = {
            **self._entries,
            principal.username: CredentialEntry(principal, hash_secret(secret), bcrypt=bcrypt_record(secret)),
        }

    def revoke(self, username: str) -> None:
        """Remove a username."""
        self._entries = {name: entry for name, entry in self._entries.items() if name != username}

    def find(self, username: str) -> CredentialEntry | None:
        """Return the entry of a username; see `Directory`."""
        return self._entries.get(username)

    def entries(self) -> Mapping[str, CredentialEntry]:
        """Return all entries; see `Directory`."""
        return self._entries

    def refresh(self) -> frozenset[str]:
        """Return the usernames changed since the last call; see `Directory`."""
        before, after = self._seen, self._entries
        self._seen = after
        return frozenset(name for name, entry in before.items() if after.get(name) != entry)


class TableDirectory:
    """A directory that caches the fleet database's table of principals. Empty until the first `refresh`."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or SystemClock()
        self._rows: list[_Row] = []
        self._entries: dict[str, CredentialEntry] = {}
        self._readable = True

    def find(self, username: str) -> CredentialEntry | None:
        """Return the entry of a username; see `Directory`."""
        return self._entries.get(username)

    def entries(self) -> Mapping[str, CredentialEntry]:
        """Return all entries; see `Directory`."""
        return self._entries

    def refresh(self) -> frozenset[str]:
        """Read the table in one query and process the rows that changed; see `Directory`."""
        try:
            rows = self._read()
        except SQLAlchemyError as error:
            if self._readable:
                log.warning("cannot read the principals, the last ones stay in force: %s", str(error).splitlines()[0])
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
        previous = case((table.c.previous_until > self._clock.now(), table.c.previous_secret_hash))
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
            log.warning("the principal %s is inconsistent (%s %s of %r) and is ignored", username, role, name, org)
    return entries
