"""Revocation of a credential, as by `dashfleet principal revoke`, with the embedded broker and a running ingestor."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from brokers import Gone, RawClient
from clocks import Clock
from faults.scale import IS_WHOLE
from ingestion import Speaker
from sites import Site, now, site
from sqlalchemy import Engine
from waiting import wait_until

from broker.client.transport import Message
from ingestor.admin import access
from schemas.contract import topics
from schemas.database.queries.machines import list_machines

ROUNDS = 20 if IS_WHOLE else 6
SECONDS = 5.0
REFUSED = 5


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Transports to close at the end of the test."""
    with ExitStack() as stack:
        yield stack


def connected(opened: ExitStack, server: Site, org: str, name: str, secret: str) -> RawClient:
    """Connect a machine that has published its birth and set its will."""
    client = opened.enter_context(RawClient(server.broker.port))
    speaker = Speaker(Clock(), name, org)
    will = speaker.status("lost")
    assert client.connect(f"{org}.{name}", secret, will=(will.topic, will.payload, 1, True)) == 0
    for message in (speaker.status(), speaker.info(), speaker.telemetry(1)):
        publish(client, message)
    return client


def publish(client: RawClient, message: Message) -> None:
    client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)


def presence(engine: Engine, name: str) -> str:
    return str(next((row["presence"] for row in list_machines(engine) if row["machine"] == name), "none"))


def retained(server: Site, secret: str, name: str) -> list[str]:
    """Return the retained messages of a machine that a new reader receives."""
    own = {"org": "acme", "machine": name}
    with RawClient(server.broker.port) as reader:
        assert reader.connect("acme._reader", secret) == 0
        reader.subscribe(topics.STATUS.at(**own), topics.INFO.at(**own))
        reader.ping()
        shown = []
        while not reader.nothing_waits():
            shown.append(reader.message().topic)
        return shown


def test_several_in_a_row_are_out_within_five_seconds_and_nothing_of_them_stays(
    database: Engine, opened: ExitStack
) -> None:
    with site(database, "acme") as server:
        reader = access.new_principal(database, "acme", "reader", "reader", now=now)
        secrets = {
            f"m{n}": access.new_principal(database, "acme", f"m{n}", "machine", now=now) for n in range(ROUNDS + 1)
        }
        wait_until(lambda: server.broker.directory.find(f"acme.m{ROUNDS}"), what="the principals at the broker")
        clients = {name: connected(opened, server, "acme", name, secret) for name, secret in secrets.items()}
        wait_until(lambda: all(presence(database, name) == "online" for name in secrets), what="everybody online")
        took = []
        for name in list(secrets)[:ROUNDS]:
            assert len(retained(server, reader, name)) == 2
            begun = time.monotonic()
            access.revoke_principal(database, f"acme.{name}", now=now)
            assert clients[name].is_gone()
            wait_until(lambda name=name: presence(database, name) == "retired", seconds=SECONDS)  # type: ignore[misc]
            wait_until(lambda name=name: not retained(server, reader, name), seconds=SECONDS)  # type: ignore[misc]
            took.append(time.monotonic() - begun)
            with RawClient(server.broker.port) as again:
                assert again.connect(f"acme.{name}", secrets[name]) == REFUSED
        assert max(took) < SECONDS, took
        print(f"{ROUNDS} revocations: {max(took):.2f} s at most, {sum(took) / ROUNDS:.2f} s on average")
        clients[f"m{ROUNDS}"].ping()
        assert presence(database, f"m{ROUNDS}") == "online"


def test_removing_an_organisation_ends_the_sessions_of_all_who_were_of_it(database: Engine, opened: ExitStack) -> None:
    with site(database, "acme", "other") as server:
        secrets = {
            (org, role): access.new_principal(database, org, "x", role, now=now)
            for org in ("acme", "other")
            for role in ("machine", "reader")
        }
        wait_until(lambda: server.broker.directory.find("other._x"), what="the principals at the broker")
        machine = connected(opened, server, "acme", "x", secrets["acme", "machine"])
        other = connected(opened, server, "other", "x", secrets["other", "machine"])
        reader = opened.enter_context(RawClient(server.broker.port))
        assert reader.connect("acme._x", secrets["acme", "reader"]) == 0
        wait_until(lambda: [row["presence"] for row in list_machines(database)] == ["online"] * 2, what="both online")
        access.remove_org(database, "acme", now=now)
        assert machine.is_gone()
        assert reader.is_gone()
        other.ping()
        publish(other, Speaker(Clock(), "x", "other").telemetry(2))
        wait_until(lambda: list_machines(database)[0]["ledger"]["stored"] == 2, what="the other's sample")
        assert [row["org"] for row in list_machines(database)] == ["other"]


@pytest.mark.parametrize("role", ["reader", "operator"])
def test_a_revoked_program_hears_nothing_more(database: Engine, role: str) -> None:
    with site(database, "acme", refresh_seconds=0.1) as server:
        secret = access.new_principal(database, "acme", "x", role, now=now)
        wait_until(lambda: server.broker.directory.find("acme._x"), what="the principal at the broker")
        with RawClient(server.broker.port) as client:
            assert client.connect("acme._x", secret) == 0
            assert client.subscribe(topics.TELEMETRY.filter(org="acme")) == [1]
            access.revoke_principal(database, "acme._x", now=now)
            with pytest.raises(Gone):
                client.message()
