"""Credentials of a run of `dashfleet conform broker`, which are removed at its end."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.contract.temporary_principal import ended_in_order, unique_name
from cli.options import CLOCK

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from broker.conformance.broker_client import BrokerClient
    from broker.conformance.broker_run import BrokerCredentials, Credential

RETRY_SECONDS = 0.2
NAME = "conform"


@contextmanager
def broker_credentials(engine: "Engine") -> "Iterator[BrokerCredentials]":
    """Create two organisations with machines and readers, and an ingestor's credential; remove them at the end."""
    from broker.access.policy import Principal, Role
    from broker.conformance.broker_run import BrokerCredentials, Credential
    from ingestor.admin.access import add_org, add_principal, remove_org, remove_principal, revoke_principal

    run = unique_name(NAME)
    org, other_org = f"{run}-a", f"{run}-b"

    def add(role: Role, of: str, name: str) -> Credential:
        principal, secret = Principal(role, of, name), secrets.token_hex(32)
        add_principal(engine, principal, secret, now=CLOCK.now)
        return Credential(principal.username, secret)

    ingestor = Principal(Role.INGESTOR, "", run)
    with ended_in_order():
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
                ingestor=add(Role.INGESTOR, "", run),
                revoke=lambda: revoke_principal(engine, second, now=CLOCK.now),
            )
        finally:
            for name in (org, other_org):
                remove_org(engine, name, now=CLOCK.now)
            remove_principal(engine, ingestor)


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
