"""Conditions for listening: with TLS, or on loopback, or without TLS if `insecure` allows it.

Invariants:
- TLS 1.2 or newer. Clients authenticate with their credential, not with a certificate.
- An unusable or expired certificate, or an unusable key, stops the start, with a sentence that names it.
"""

import datetime
import ipaddress
import ssl
from pathlib import Path

from runtime.errors import UserError
from runtime.settings.broker import ListenerSettings
from runtime.settings.secret_files import require_private


class BrokerError(UserError):
    """The broker cannot start; the message is one sentence for the operator."""


def listening_context(settings: ListenerSettings) -> ssl.SSLContext | None:
    """Return the context to listen with, None for no TLS.

    Raises BrokerError, or SettingsError if others can read the key.
    """
    if (settings.certificate is None) != (settings.private_key is None):
        raise BrokerError("certificate and private_key belong together: set both, or neither")
    if settings.certificate is not None and settings.private_key is not None:
        return _context(settings.certificate, settings.private_key)
    if not address_of(settings.bind).is_loopback and not settings.insecure:
        raise BrokerError(
            f"the broker does not listen on {settings.bind} without TLS, as secrets would cross the network in the "
            "clear: make a certificate with dashfleet tls, or bind it to 127.0.0.1 (--insecure listens all the same)"
        )
    return None


def address_of(bind: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address to listen on. Names are not resolved, as they may change. Raises BrokerError."""
    try:
        return ipaddress.ip_address(bind)
    except ValueError:
        raise BrokerError(f"bind must be an IP address such as 127.0.0.1, not {bind!r}") from None


def _context(certificate: Path, private_key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        require_private(private_key)
        context.load_cert_chain(certificate, private_key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BrokerError(f"the key in {private_key} does not belong to the certificate in {certificate}") from None
        raise BrokerError(f"{certificate} and {private_key} are not a certificate and its key in PEM") from None
    except OSError as error:
        raise BrokerError(f"cannot read {error.filename or certificate}: {error.strerror}") from None
    end = valid_until(certificate)
    if end <= datetime.datetime.now(datetime.UTC):
        raise BrokerError(
            f"the certificate in {certificate} expired on {end:%Y-%m-%d %H:%M} UTC, and no machine would connect: "
            "renew it, for example with dashfleet tls --renew"
        )
    return context


def valid_until(certificate: Path) -> datetime.datetime:
    """Return the end of a PEM certificate's validity. Raises OSError or ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc


def _no_password() -> str:
    """Return an empty password: OpenSSL would ask on the terminal, which a service does not have."""
    return ""
