"""The auth database of the dashboard: users, second factors, sessions, failed sign-ins and the record of changes.

Invariants:
- Only the owner of the database file can read it, from the moment it exists.
- Passwords are stored as argon2id hashes, session tokens and recovery codes as SHA-256.
"""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Engine, ForeignKey, Integer, MetaData, String, Table

from runtime.clock import SystemClock
from schemas.people.people_store import SHARED, open_with_tables

metadata = MetaData()
_now: Final = SystemClock().now

user = Table(
    "user",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("password_hash", String(200), nullable=False, comment="argon2id"),
    Column("role", String(16), nullable=False),
    Column("org", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False, default=_now),
)

identity = Table(
    "identity",
    metadata,
    Column("subject", String(512), primary_key=True, comment="JSON: OpenID Connect issuer and sub"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("token_hash", String(64), primary_key=True, comment="SHA-256; only the cookie holds the token itself"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("browser", String(256), nullable=False),
)

known_browser = Table(
    "known_browser",
    metadata,
    Column("token_hash", String(64), primary_key=True, comment="SHA-256; only the cookie holds the token itself"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False),
    Column("seen_at", BigInteger, nullable=False, comment="the last sign-in with a password"),
)

authenticator = Table(
    "authenticator",
    metadata,
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), primary_key=True),
    Column("secret", String(64), nullable=False, comment="of the authenticator app, base32"),
    Column("confirmed", Boolean, nullable=False, comment="a code of it was entered: it is asked for at the sign-in"),
    Column("last_step", BigInteger, nullable=False, comment="30 s step of the last accepted code; none is used twice"),
)

recovery_code = Table(
    "recovery_code",
    metadata,
    Column("code_hash", String(64), primary_key=True, comment="SHA-256; a code has 80 random bits"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False, index=True),
)

passkey = Table(
    "passkey",
    metadata,
    Column("id", String(1400), primary_key=True, comment="credential id, base64url"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("public_key", String(2000), nullable=False, comment="COSE, base64url"),
    Column("sign_count", BigInteger, nullable=False),
    Column("title", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

passkey_challenge = Table(
    "passkey_challenge",
    metadata,
    Column("key", String(80), primary_key=True, comment="the session or pending sign-in that it was made for"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False),
    Column("challenge", String(128), nullable=False, comment="base64url"),
    Column("created_at", BigInteger, nullable=False),
)

pending_sign_in = Table(
    "pending_sign_in",
    metadata,
    Column("token_hash", String(64), primary_key=True, comment="SHA-256; only the cookie holds the token itself"),
    Column("user_id", ForeignKey(user.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False, comment="when the password was verified"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("key", String(160), primary_key=True, comment="see login_attempts"),
    Column("failures", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False, comment="attempts before this time are rejected"),
)

account_change = Table(
    "account_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("org", String(32), nullable=False, index=True),
    Column("at", BigInteger, nullable=False, default=_now),
    Column("by", String(64), nullable=False, comment="a user, or the account that ran a command on the server"),
    Column("kind", String(32), nullable=False, comment="one of users.CHANGES"),
    Column("name", String(64), nullable=False, comment="the user that was changed"),
    Column("detail", String(64), nullable=False, comment="such as the role"),
)


def open_auth_database(url: str) -> Engine:
    """Open the auth database, creating what it lacks. Raises DatabaseError."""
    return open_with_tables(url, (metadata, *SHARED), "auth database")
