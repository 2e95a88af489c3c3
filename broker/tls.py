"""Serving TLS: the certificate and the key that a broker listens with.

Invariants:
- TLS 1.2 at least. Clients prove who they are with their credential, not with a certificate.
- Files that cannot serve stop the start, with a sentence that names the file.
"""

import ssl
from pathlib import Path

from schemas.errors import StartError
from schemas.settings import require_private


def server_context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """What to listen with. Raises StartError, SettingsError when others can read the key."""
    _require_private(private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, private_key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartError(f"the key in {private_key} does not belong to the certificate in {certificate}") from None
        raise StartError(f"{certificate} and {private_key} are not a certificate and its key in PEM") from None
    except OSError as error:
        raise StartError(f"cannot read {certificate}: {error.strerror}") from None
    return context


def _require_private(key: Path) -> None:
    try:
        require_private(key)
    except OSError as error:
        raise StartError(f"cannot read {key}: {error.strerror}") from None


def _no_password() -> str:
    """A key that asks for a password would ask the terminal, of which a service has none."""
    return ""
