"""Credentials of a run of `dashfleet conform` against a broker; they are revoked, or removed, at its end."""

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.options import CLOCK
from runtime.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.client.mqtt import Mqtt
    from broker.conformance.broker_client import BrokerClient
    from broker.conformance.broker_run import BrokerCredentials, Credential
    from runtime.settings.client import ActSettings

CONNECT_SECONDS = 20.0
RETRY_SECONDS = 0.2
NAME = "conform"


@contextmanager
def ingestor_client(engine: "Engine", settings: "ActSettings") -> "Iterator[Mqtt]":
    """Connect with a credential that may do what an ingestor may; it is revoked at the end."""
    from broker.access.policy import Principal, Role
    from ingestor.admin.access import add_principal, revoke_principal

    principal, secret = Principal(Role.INGESTOR, "", NAME), secrets.token_hex(32)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the credential is revoked
    add_principal(engine, principal, secret, now=CLOCK.now)
    try:
        transport = _connected(settings, principal.username, secret)
        try:
            yield transport
        finally:
            transport.close()
    finally:
        revoke_principal(engine, principal.username, now=CLOCK.now)


def _connected(settings: "ActSettings", username: str, secret: str) -> "Mqtt":
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


@contextmanager
def broker_credentials(engine: "Engine") -> "Iterator[BrokerCredentials]":
    """Create two organisations with machines and readers, and an ingestor's credential; remove them at the end."""
    from broker.access.policy import Principal, Role
    from broker.conformance.broker_run import BrokerCredentials, Credential
    from ingestor.admin.access import add_org, add_principal, remove_org, revoke_principal

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that they are removed
    run = secrets.token_hex(4)
    org, other_org = f"{NAME}-{run}-a", f"{NAME}-{run}-b"

    def add(role: Role, of: str, name: str) -> Credential:
        principal, secret = Principal(role, of, name), secrets.token_hex(32)
        add_principal(engine, principal, secret, now=CLOCK.now)
        return Credential(principal.username, secret)

    ingestor = Principal(Role.INGESTOR, "", NAME)
    try:
        for name in (org, other_org):
            add_org(engine, name, now=CLOCK.now)
        second = Principal(Role.MACHINE, org, "b").username
        yield BrokerCredentials(
            org=org,
            other_org=other_org,
            machine_a=add(Role.MACHINE, org, "a"),
            machine_b=add(Role.MACHINE, org, "b"),
            reader=add(Role.READER, org, "reader"),
            late_reader=add(Role.READER, org, "late-reader"),
            other_reader=add(Role.READER, other_org, "reader"),
            ingestor=add(Role.INGESTOR, "", NAME),
            revoke=lambda: revoke_principal(engine, second, now=CLOCK.now),
        )
    finally:
        for name in (org, other_org):
            remove_org(engine, name, now=CLOCK.now)
        revoke_principal(engine, ingestor.username, now=CLOCK.now)


def wait_until_known(connecting: "Callable[[], BrokerClient]", credential: "Credential", seconds: float) -> None:
    """Wait until the broker accepts a new credential, for this time at most: brokers read them every second."""
    from broker.conformance.packets import ACCEPTED, Connect

    deadline = CLOCK.monotonic() + seconds
    while CLOCK.monotonic() < deadline:
        client = connecting()
        code = client.connect(Connect(4, credential.username, credential.username, credential.secret), seconds)
        client.disconnect()
        if code == ACCEPTED:
            return
        time.sleep(RETRY_SECONDS)
