"""Secrets of principals, and the records with which a broker verifies them.

One record serves every broker: Mosquitto's `$7$<iterations>$<base64 salt>$<base64 key>`, PBKDF2 with SHA-512. Few
iterations suffice because a secret is 256 random bits, which cannot be guessed. Passwords of people are never stored
this way (`dashboard.auth`).

Invariants:
- Only records are stored; a secret is shown once, to the user who requested it.
- The comparison takes the same time wherever two keys differ, and a malformed record matches nothing.
"""

import base64
import binascii
import hashlib
import hmac
import secrets

from schemas.contract.enrolment import Token

ITERATIONS = 101
"""Mosquitto's own default."""

_ITERATIONS_MAX = 10_000  # verified on the broker's event loop, which a record must not block
_SALT_BYTES = 12
KEY_BYTES = 64
_SCHEME = "7"


def new_secret() -> str:
    """Return a new secret: 256 random bits in 43 characters that are safe in shells, files and URLs."""
    return secrets.token_urlsafe(32)


def new_token(org: str) -> Token:
    """Return a new enrolment token of an organisation. It is valid once its record is stored."""
    return Token(org, f"token-{secrets.token_hex(4)}", new_secret())


def hash_secret(secret: str) -> str:
    """Return the record to store for a secret."""
    salt = secrets.token_urlsafe(9).encode()  # 12 ASCII characters: EMQX reads the salt from a column of text
    return f"${_SCHEME}${ITERATIONS}${_encoded(salt)}${_encoded(_key(secret, salt, ITERATIONS))}"


def bcrypt_record(secret: str) -> str:
    """Return the record for a broker that supports only bcrypt, with the lowest cost: a secret cannot be guessed."""
    import bcrypt  # here: an agent, which enrols with this module, does not have it

    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(rounds=4)).decode()


def verify_secret(secret: str, record: str) -> bool:
    """Return True if `record` was made from `secret`. A malformed record never matches; never raises."""
    parts = record.split("$")
    if len(parts) != 5 or parts[0] or parts[1] != _SCHEME:
        return False
    try:
        iterations = int(parts[2])
        salt, key = (base64.b64decode(part, validate=True) for part in parts[3:])
        given = _key(secret, salt, iterations) if 0 < iterations <= _ITERATIONS_MAX else b""
    except (ValueError, binascii.Error):  # a ValueError also for a secret with half a surrogate pair
        return False
    return len(salt) == _SALT_BYTES and len(key) == KEY_BYTES and hmac.compare_digest(given, key)


def _key(secret: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations, KEY_BYTES)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
