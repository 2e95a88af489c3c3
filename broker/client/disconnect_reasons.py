"""Sentences for the reasons why a connection ended or could not be made."""

from paho.mqtt.reasoncodes import ReasonCode

from runtime.settings.address import ServerAddress

CREDENTIALS_REJECTED = frozenset(("Bad user name or password", "Not authorized", "Client identifier not valid"))
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
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {address.host}:{address.port}"
    if isinstance(error, TimeoutError):
        return f"{address.host}:{address.port} did not answer in time"
    if isinstance(error, ConnectionResetError):
        return _IN_WORDS["Unspecified error"]
    return str(error) or type(error).__name__


def reason_text(reason: ReasonCode) -> str:
    """Return a sentence for a reason code of paho."""
    return _IN_WORDS.get(str(reason), str(reason))
