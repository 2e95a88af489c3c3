"""Passwords: generated, hashed with argon2id and verified.

Invariants:
- An unknown user costs as much time as a wrong password.
- At most two hashes are computed at a time: each takes 64 MiB, and a flood of sign-ins must not exhaust the memory.
"""

import secrets
import threading
from base64 import b64encode

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from runtime.errors import UserError
from runtime.translatable import Translatable

PASSWORD_MIN_LENGTH = 12
PASSWORD_MAX_LENGTH = 1024
_DIFFERENT_MIN = 5
_NAME_MIN = 4
"""Length from which a user's name is looked for in the password."""

_HASHER = PasswordHasher()
_UNKNOWN_USER = "$argon2id$v=19$m={},t={},p={}${}${}".format(
    _HASHER.memory_cost,
    _HASHER.time_cost,
    _HASHER.parallelism,
    *(b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (_HASHER.salt_len, _HASHER.hash_len)),
)
"""A hash that no password has, which takes as long to verify as any other."""
_HASHING = threading.BoundedSemaphore(2)


class AccountError(UserError):
    """A user cannot be added or changed; the message is one sentence for the operator."""


def new_password() -> str:
    """Generate a password of 96 random bits."""
    return secrets.token_urlsafe(12)


def hash_password(password: str) -> str:
    """Hash a password for storage. Raises AccountError if it is too short or too long."""
    if not PASSWORD_MIN_LENGTH <= len(password) <= PASSWORD_MAX_LENGTH:
        raise AccountError(f"a password has {PASSWORD_MIN_LENGTH} to {PASSWORD_MAX_LENGTH} characters")
    return _HASHER.hash(password)


def check_password(password: str, name: str, min_length: int = PASSWORD_MIN_LENGTH) -> None:
    """Raise AccountError unless a password that a user chose is long enough and not easily guessed."""
    if not min_length <= len(password) <= PASSWORD_MAX_LENGTH:
        raise AccountError(
            Translatable(
                "a password has {least} to {most} characters", least=str(min_length), most=str(PASSWORD_MAX_LENGTH)
            )
        )
    if len(set(password)) < _DIFFERENT_MIN:
        raise AccountError(Translatable("this password repeats a few characters: choose another one"))
    if len(name) >= _NAME_MIN and name in password.lower():
        raise AccountError(Translatable("a password must not contain the name of the user"))


def matches(stored: str | None, password: str) -> bool:
    """Verify a password against the stored hash; None stands for an unknown user."""
    if len(password) > PASSWORD_MAX_LENGTH:
        return False
    with _HASHING:
        try:
            return _HASHER.verify(_UNKNOWN_USER if stored is None else stored, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def rehash(stored: str, password: str) -> str | None:
    """Hash a verified password again if the hash was made with weaker parameters than today's; else return None."""
    return _HASHER.hash(password) if _HASHER.check_needs_rehash(stored) else None
