"""Browsers in which a user has signed in with a password before; the throttling of other clients does not delay them.

Invariants:
- A known browser signs nobody in: it only has its own count of failed attempts, for its user's name alone.
- Only the SHA-256 of its token is stored. Whatever ends a user's sessions makes their browsers unknown.
- Per user the newest `BROWSERS_MAX` are kept, for `KNOWN_SECONDS` after their last sign-in.
"""

import secrets
from hashlib import sha256
from typing import Final

from sqlalchemy import Engine, delete, insert, select

from dashboard.auth.auth_database import known_browser, user
from dashboard.auth.users import User
from runtime.clock import Clock
from schemas.database.queries.fetch import fetch_first

KNOWN_SECONDS: Final = 180 * 86_400
BROWSERS_MAX: Final = 20


class KnownBrowsers:
    """The known browsers in one auth database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def find(self, token: str, name: str) -> str:
        """Return the id of the browser with this token if this user has signed in there, else an empty string."""
        if not token:
            return ""
        id_ = _hash(token)
        query = select(known_browser.c.token_hash).join_from(known_browser, user)
        living = known_browser.c.seen_at > self._oldest()
        found = fetch_first(self._engine, query.where(known_browser.c.token_hash == id_, user.c.name == name, living))
        return "" if found is None else id_

    def remember(self, who: User, token: str) -> str:
        """Make a browser known for a user; return the new token for its cookie, in place of `token`."""
        new, mine = secrets.token_urlsafe(32), known_browser.c.user_id == who.id
        oldest = select(known_browser.c.token_hash).where(mine).order_by(known_browser.c.seen_at.desc())
        row = {"token_hash": _hash(new), "user_id": who.id, "seen_at": self._clock.now()}
        with self._engine.begin() as connection:
            connection.execute(delete(known_browser).where(known_browser.c.seen_at <= self._oldest()))
            connection.execute(delete(known_browser).where(mine, known_browser.c.token_hash == _hash(token)))
            connection.execute(insert(known_browser).values(row))
            surplus = connection.scalars(oldest.offset(BROWSERS_MAX)).all()
            connection.execute(delete(known_browser).where(known_browser.c.token_hash.in_(surplus)))
        return new

    def _oldest(self) -> int:
        return self._clock.now() - KNOWN_SECONDS * 1000


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
