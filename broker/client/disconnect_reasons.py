"""Sentences for the reasons why a connection ended or could not be made."""

import ssl

from paho.mqtt.reasoncodes import ReasonCode

from runtime.settings.address import ServerAddress

CREDENTIALS_REJECTED = frozenset(("Bad user name or password", "Not authorized", "Client identifier not valid"))
_UNKNOWN_CA = range(18, 22)  # OpenSSL's X509_V_ERR_… of a chain that ends at no trusted CA
UNTRUSTED = "certificate verify failed"
"""In every sentence about a server certificate that cannot be verified."""

_IN_WORDS = {
    "Success": "the connection was closed",
    "Unspecified error": "the broker closed the connection, or the network lost it",
    "Keep alive timeout": "the broker did not answer within the keep-alive",
    "Protocol error": "the broker sent something that is not MQTT 3.1.1",
    "Bad user name or password": "the broker rejected the user name or the secret",
    "Not authorized": "the broker does not admit this user name",
    "Client identifier not valid": "the broker rejected the client id",
    "Server unavailable": "the broker accepts no connections now",
}
"""By the name that paho gives a reason code."""


def failure(error: Exception, address: ServerAddress) -> str:
    """Return a sentence for a socket that could not be opened."""
    where = f"{address.host}:{address.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = ": set ca_file to the certificate of its CA" if error.verify_code in _UNKNOWN_CA else ""
        return f"{where}: {UNTRUSTED} ({error.verify_message}){remedy}"
    if address.tls and isinstance(error, ssl.SSLError | ConnectionResetError):
        return f"{where} did not answer with TLS ({_detail(error)}): is it a port without TLS, for mqtt://?"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}"
    if isinstance(error, TimeoutError):
        return f"{where} did not answer in time"
    if isinstance(error, ConnectionResetError):
        return _IN_WORDS["Unspecified error"]
    return str(error) or type(error).__name__


def closed_in_handshake(reason: str, address: ServerAddress) -> str:
    """Return a sentence for a connection that ended before CONNECT was answered."""
    if address.tls or reason not in (_IN_WORDS["Unspecified error"], _IN_WORDS["Protocol error"]):
        return reason
    return f"{reason}, before it answered: is {address.host}:{address.port} a port with TLS, for mqtts://?"


def _detail(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else None) or error.strerror or "closed"


def reason_text(reason: ReasonCode) -> str:
    """Return a sentence for a reason code of paho."""
    return _IN_WORDS.get(str(reason), str(reason))
