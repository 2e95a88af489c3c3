"""Encryption of secrets at rest: AES-256-GCM with a key file that only its owner can read.

Invariants:
- A sealed text opens only in the context in which it was sealed, so it cannot be moved to another organisation.
- The key is created once and never overwritten.
"""

import hashlib
import hmac
import os
from base64 import b64decode, b64encode
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runtime import files
from runtime.errors import UserError
from runtime.settings.secret_files import read_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12
_KEY_BYTES = 32


class SecretBox:
    """Seals and opens texts with one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @cached_property
    def _cipher(self) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # here: it takes 8 MiB

        return AESGCM(self._key)

    @classmethod
    def load(cls, path: Path) -> "SecretBox":
        """Read the key, creating the file if it does not exist. Raises UserError."""
        try:
            if not path.exists():
                _create(path)
        except OSError as error:
            raise UserError(f"cannot create the key {path}: {error.strerror}") from None
        try:
            key = b64decode(read_secret(path), validate=True)
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise UserError(f"{path} is not a key of 32 bytes in base64: restore it from a backup")
        return cls(key)

    def seal(self, text: str, *, context: str) -> str:
        """Return the encrypted text."""
        nonce = os.urandom(_NONCE_BYTES)
        return b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())).decode()

    def open(self, sealed: str, *, context: str) -> str:
        """Return the text. Raises UserError if it was sealed with another key or in another context."""
        from cryptography.exceptions import InvalidTag

        try:
            data = b64decode(sealed, validate=True)
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError):
            raise UserError(
                "cannot decrypt the URL of a destination: restore the key of the notifications, or set the URL again"
            ) from None

    def derive(self, context: str) -> str:
        """Return a secret for this context, the same at each call: 64 hexadecimal digits."""
        return hmac.new(self._key, b"derived/" + context.encode(), hashlib.sha256).hexdigest()


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError), files.new(path) as written:  # another process may have been faster
        written.write_text(b64encode(os.urandom(_KEY_BYTES)).decode() + "\n")
