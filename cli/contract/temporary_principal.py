"""A connection with a credential that exists for as long as a command runs."""

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.options import CLOCK
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.access.policy import Principal
    from broker.client.mqtt import Mqtt
    from runtime.settings.client import ClientSettings

CONNECT_SECONDS = 20.0
_ENDING = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
"""Signals that end a command: the second is that of a terminal that is closed."""


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Turn the signals that end a command into KeyboardInterrupt, so that what it has made is removed."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN  # as of nohup
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def unique_name(command: str) -> str:
    """Return a name for the principal of one run, so that two runs do not end each other's connections."""
    return f"{command}-{secrets.token_hex(4)}"


@contextmanager
def connected_as(engine: "Engine", settings: "ClientSettings", principal: "Principal") -> "Iterator[Mqtt]":
    """Add a principal and connect as it; it is removed at the end. Raises UserError."""
    from ingestor.admin.access import add_principal, remove_principal

    secret = secrets.token_hex(32)
    with ended_in_order():
        add_principal(engine, principal, secret, now=CLOCK.now)
        try:
            transport = _connected(settings, principal.username, secret)
            try:
                yield transport
            finally:
                transport.close()
        finally:
            remove_principal(engine, principal)


def _connected(settings: "ClientSettings", username: str, secret: str) -> "Mqtt":
    """Return a connected client. Raises UserError if the broker does not accept it in time."""
    from broker.client.mqtt import Mqtt
    from broker.client.transport import Backoff, Disconnected

    transport = Mqtt(
        settings.address,
        username=username,
        password=secret,
        subscriptions=[],
        backoff=Backoff(first_seconds=0.2, most_seconds=1.0),
        keep_alive_seconds=settings.keep_alive_seconds,
        ca_file=settings.ca_file,
    )
    deadline, reason = CLOCK.monotonic() + CONNECT_SECONDS, "no answer"
    while not transport.connected:
        for event in transport.receive(1, 0.2):
            reason = event.reason if isinstance(event, Disconnected) else reason
        if CLOCK.monotonic() > deadline:
            transport.close()
            raise UserError(f"cannot connect to the broker at {settings.server}: {reason}")
    return transport
