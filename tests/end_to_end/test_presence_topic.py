"""The derived presence as a reader on each broker receives it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from available_time import available_time
from brokers import broker_of_kind
from clocks import Clock
from ingestion import Speaker
from sites import Site, now, site
from sqlalchemy import Engine
from waiting import wait_until

from broker.access.principals import TableDirectory
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Message
from ingestor.admin import access
from runtime.settings.address import ServerAddress
from schemas.contract import topics
from schemas.contract.presence import PresenceMessage
from schemas.database.queries.machines import list_machines

SECONDS = 60.0
WITHIN_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 2
REVOKED_WITHIN_SECONDS = 2.0
"""A will waits this long for a message that revokes it."""

SLACK_SECONDS = 1.0
CHANGES = 10


@pytest.fixture(params=["embedded", "mosquitto", "nats"])
def server(request: pytest.FixtureRequest, database: Engine, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        broker = None
        if request.param != "embedded":
            broker = stack.enter_context(broker_of_kind(request.param, TableDirectory(database), tmp_path))
        yield stack.enter_context(site(database, "acme", broker=broker))


def connected(server: Site, username: str, secret: str, *filters: str, **more: Any) -> Mqtt:  # noqa: ANN401 - options
    transport = Mqtt(
        ServerAddress.parse(server.server),
        username=username,
        password=secret,
        subscriptions=[(filter_, 1) for filter_ in filters],
        backoff=Backoff(first_seconds=0.05, most_seconds=0.2),
        **more,
    )
    deadline = time.monotonic() + SECONDS
    while not transport.connected and time.monotonic() < deadline:
        transport.receive(1, 0.05)
    assert transport.connected
    return transport


def next_presence(reader: Mqtt) -> PresenceMessage:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for message in reader.receive(1, 0.05):
            if isinstance(message, Message):
                return PresenceMessage.decode(message.payload)
    pytest.fail("no presence was published")


def test_a_reader_has_each_change_within_half_a_second_and_a_late_reader_the_last_one(
    database: Engine, server: Site
) -> None:
    secret = access.new_principal(database, "acme", "reader", "reader", now=now)
    machine = access.new_principal(database, "acme", "attic", "machine", now=now)
    wait_until(lambda: server.ingestor.metrics.connected, seconds=SECONDS, what="the ingestor is connected")
    reader = connected(server, "acme._reader", secret, topics.PRESENCE.filter(org="acme"))
    agent = connected(server, "acme.attic", machine)
    speaker = Speaker(Clock(), "attic", "acme")
    delays = []
    with available_time() as available:
        for change in range(CHANGES):
            speaker.session += 1
            message = speaker.status() if change % 2 == 0 else speaker.status("stopped")
            began = available.seconds  # before the database has it, and without what others take of the processors
            assert agent.publish(message)
            agent.receive(10, 0.05)
            presence = next_presence(reader)
            delays.append(available.seconds - began)
            assert presence.presence == ("online" if change % 2 == 0 else "offline")
    assert max(delays) < WITHIN_SECONDS, delays
    (row,) = list_machines(database)
    reader.close()
    again = connected(server, "acme._reader", secret)
    again.subscribe([(topics.PRESENCE.filter(org="acme"), 1)])
    last = next_presence(again)
    assert (last.presence, last.reason, last.since) == (row["presence"], row["reason"], row["since"])
    agent.close()
    again.close()


def test_a_machine_whose_link_is_cut_is_offline_after_one_and_a_half_keep_alives(database: Engine) -> None:
    with site(database, "acme") as server:
        secret = access.new_principal(database, "acme", "reader", "reader", now=now)
        machine = access.new_principal(database, "acme", "attic", "machine", now=now)
        wait_until(lambda: server.ingestor.metrics.connected, seconds=SECONDS, what="the ingestor is connected")
        reader = connected(server, "acme._reader", secret, topics.PRESENCE.filter(org="acme"))
        speaker = Speaker(Clock(), "attic", "acme")
        will = {"will": lambda: speaker.status("lost"), "keep_alive_seconds": KEEP_ALIVE_SECONDS}
        agent = connected(server, "acme.attic", machine, **will)
        assert agent.publish(speaker.status())
        agent.receive(10, 0.05)
        with available_time() as available:  # nothing more is sent, and nothing is closed
            assert next_presence(reader).presence == "online"
            presence = next_presence(reader)
        assert (presence.presence, presence.reason) == ("offline", "lost")
        assert available.seconds <= 1.5 * KEEP_ALIVE_SECONDS + REVOKED_WITHIN_SECONDS + SLACK_SECONDS
        for transport in (agent, reader):
            transport.close()
