"""Retained messages on brokers that keep whatever a client retains: those of revoked principals, and mistakes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from brokers import Gone, RawClient, broker_of_kind
from clocks import Clock
from ingestion import Speaker
from sites import Site, now, site
from sqlalchemy import Engine
from waiting import wait_until

from broker.access.principals import TableDirectory
from ingestor.admin import access
from schemas.contract import topics
from schemas.database.queries.dead_letters import list_dead_letters

OWN = {"org": "acme", "machine": "attic"}
UPWARD = (topics.STATUS, topics.INFO, topics.TELEMETRY, topics.BACKFILL, topics.RESULT)
SECONDS = 60.0


@pytest.fixture(params=["mosquitto", "nats"])
def server(request: pytest.FixtureRequest, database: Engine, tmp_path: Path) -> Iterator[Site]:
    with (
        broker_of_kind(request.param, TableDirectory(database), tmp_path) as broker,
        site(database, "acme", broker=broker) as server,
    ):
        yield server


def retained(server: Site, secret: str) -> set[str]:
    """Return the topics on which a new reader receives a retained message of the machine."""
    with RawClient(server.port) as reader, suppress(Gone):
        if reader.connect("acme._reader", secret) != 0:
            return {"not let in yet"}
        assert reader.subscribe(*(topic.at(**OWN) for topic in UPWARD), qos=0) == [0] * len(UPWARD)  # as NATS grants
        reader.ping()
        reader.socket.settimeout(0.3)
        found = set()
        try:
            while True:
                found.add(reader.message().topic)
        except TimeoutError:
            return found
    return {"gone"}


def test_everything_that_a_revoked_machine_retained_is_forgotten_its_will_too(database: Engine, server: Site) -> None:
    reader = access.new_principal(database, "acme", "reader", "reader", now=now)
    secret = access.new_principal(database, "acme", "attic", "machine", now=now)
    speaker = Speaker(Clock(), "attic", "acme")
    will = (topics.RESULT.at(**OWN), b"a will that is retained", 1, True)
    with machine(server, secret, will=will) as client:
        server.pause_ingestor()
        for message in (speaker.status(), speaker.info(), speaker.telemetry(1), speaker.backfill(2)):
            client.publish(message.topic, message.payload, qos=1, retain=True)
        wait_until(lambda: len(retained(server, reader)) == 4, seconds=SECONDS, what="four retained messages")
        server.start_ingestor()
        access.revoke_principal(database, "acme.attic", now=now)
        assert client.is_gone()
    wait_until(lambda: retained(server, reader) == set(), seconds=SECONDS, what="nothing of the machine is retained")


@contextmanager
def machine(server: Site, secret: str, *, will: tuple[str, bytes, int, bool] | None = None) -> Iterator[RawClient]:
    """Connect the machine as soon as the broker knows it, with one connection that it accepts.

    NATS at times ends a second connection of a client id that follows the first at once.
    """
    accepted: list[RawClient] = []

    def connects() -> bool:
        client = RawClient(server.port)
        with suppress(Gone):  # NATS closes the connection without a CONNACK
            if client.connect("acme.attic", secret, will=will) == 0:
                accepted.append(client)
                return True
        client.socket.close()
        return False

    wait_until(connects, seconds=SECONDS, what="the new machine is let in")
    with accepted[0] as client:
        wait_until(lambda: server.ingestor.metrics.connected, seconds=SECONDS, what="the ingestor is connected")
        yield client


def test_what_is_retained_by_mistake_is_forgotten_when_the_retained_messages_are_read_again(
    database: Engine, server: Site
) -> None:
    reader = access.new_principal(database, "acme", "reader", "reader", now=now)
    secret = access.new_principal(database, "acme", "attic", "machine", now=now)
    with machine(server, secret) as client:
        server.pause_ingestor()
        client.publish(topics.TELEMETRY.at(**OWN), b"{}", qos=1, retain=True)
        wait_until(lambda: retained(server, reader) == {topics.TELEMETRY.at(**OWN)}, seconds=SECONDS)
        server.ingestor._transport.reread(server.ingestor._assignment.unretained())  # type: ignore[union-attr]
        server.start_ingestor()
        wait_until(lambda: retained(server, reader) == set(), seconds=SECONDS, what="the sample is forgotten")
        assert "retained" in [letter["reason"] for letter in list_dead_letters(database, limit=9)]
        client.ping()
