"""What it costs to let a whole fleet in again."""

import time
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

from broker.access.credentials import hash_secret, new_secret
from broker.access.policy import Principal, Role
from broker.access.principals import CredentialEntry
from broker.client.transport import Message
from broker.embedded.broker import BrokerCore, GrantCache
from broker.embedded.connection import Connection, ConnectionLimits
from broker.embedded.retained import RetainedMessages
from runtime.settings.broker import BrokerSettings
from schemas.contract import topics

PRINCIPALS = 10_000
CPU_SECONDS = 5.0


class Table:
    """Ten thousand machines, each with a secret of its own."""

    def __init__(self, machines: Sequence[str], secret: str) -> None:
        record, previous = hash_secret(secret), hash_secret(new_secret())
        self._entries = {
            (principal := Principal(Role.MACHINE, "acme", name)).username: CredentialEntry(principal, record, previous)
            for name in machines
        }

    def find(self, username: str) -> CredentialEntry | None:
        return self._entries.get(username)

    def entries(self) -> dict[str, CredentialEntry]:
        return self._entries

    def refresh(self) -> frozenset[str]:
        return frozenset()


def arrival(name: str, secret: str) -> tuple[Any, Any]:
    """A connection and its CONNECT."""
    connection = Mock(spec=Connection, filters=set())
    will = Message(topics.STATUS.at(org="acme", machine=name), b"{}", 1, True)
    username = f"acme.{name}"
    connect = Mock(username=username, password=secret, client_id=username, will_flag=True)
    connect.will_topic, connect.will_message, connect.will_qos, connect.will_retain_flag = will.topic, b"{}", 1, True
    return connection, connect


def test_ten_thousand_that_connect_again_cost_less_than_five_seconds_of_cpu() -> None:
    """Each with its will, as a machine has one; the secret is checked for every one of them."""
    import asyncio

    secret = new_secret()
    names = [f"m{number}" for number in range(PRINCIPALS)]
    settings = BrokerSettings.model_validate({"data": ".", "database": "sqlite://", "port": 1})

    async def storm() -> float:
        core = BrokerCore(settings, Table(names, secret), Mock(), GrantCache(), ConnectionLimits(), RetainedMessages())
        arrivals = [arrival(name, secret) for name in names]  # which take longer than what is measured
        begun = time.process_time()
        for connection, connect in arrivals:
            core.admit(connection, connect)
        took = time.process_time() - begun
        assert core.counters["connects"] == PRINCIPALS
        return took

    took = asyncio.run(storm())
    print(f"{PRINCIPALS} principals: {took:.2f} s of CPU, {took / PRINCIPALS * 1e6:.0f} µs each")
    assert took < CPU_SECONDS
