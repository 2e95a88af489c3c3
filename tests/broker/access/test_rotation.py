"""A secret is replaced: two are good for a while, and each session lasts as long as the secret that opened it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import RawClient, RunningBroker
from clocks import Clock
from servers import free_port
from sqlalchemy import Engine
from waiting import wait_until

from broker.access.principals import TableDirectory
from ingestor.admin import access
from runtime.settings.broker import BrokerSettings

HOUR = 3600.0
NAME = "acme.attic"
REFUSED = 5


@pytest.fixture
def first(database: Engine, clock: Clock) -> str:
    """The secret of a machine in a database."""
    access.new_org(database, "acme", now=clock.now)
    return access.new_principal(database, "acme", "attic", "machine", now=clock.now)


@pytest.fixture
def broker(database: Engine, first: str, clock: Clock) -> Iterator[RunningBroker]:  # noqa: ARG001 - it is there first
    settings = BrokerSettings.model_validate({"data": Path(), "database": "sqlite://", "port": free_port()})
    running = RunningBroker(settings, TableDirectory(database, clock=clock), refresh_seconds=0.05)
    yield running
    running.stop()


def let_in(broker: RunningBroker, secret: str) -> bool:
    with RawClient(broker.port) as client:
        return client.connect(NAME, secret) == 0


def rotate(broker: RunningBroker, database: Engine, clock: Clock, overlap_seconds: float) -> str:
    """Another secret, once the broker has taken notice of it."""
    secret = access.rotate_principal(database, NAME, overlap_seconds=overlap_seconds, now=clock.now)
    wait_until(lambda: knows(broker, secret), what="the new secret")
    return secret


def knows(broker: RunningBroker, secret: str) -> bool:
    entry = broker.directory.find(NAME)
    return entry is not None and entry.record_of(secret) is not None


def test_both_secrets_let_in_until_the_overlap_is_over(
    broker: RunningBroker, database: Engine, first: str, clock: Clock
) -> None:
    second = rotate(broker, database, clock, HOUR)
    assert [let_in(broker, secret) for secret in (first, second, "made-up")] == [True, True, False]
    clock.advance(HOUR)
    wait_until(lambda: not knows(broker, first), what="the end of the overlap")
    assert [let_in(broker, secret) for secret in (first, second)] == [False, True]


def test_a_session_goes_on_through_a_rotation_and_ends_with_the_overlap_of_its_secret(
    broker: RunningBroker, database: Engine, first: str, clock: Clock
) -> None:
    with RawClient(broker.port) as attic:
        assert attic.connect(NAME, first) == 0
        rotate(broker, database, clock, HOUR)
        attic.ping()
        clock.advance(HOUR)
        assert attic.is_gone()


def test_a_session_of_the_new_secret_goes_on_when_the_overlap_ends(
    broker: RunningBroker, database: Engine, first: str, clock: Clock
) -> None:
    second = rotate(broker, database, clock, HOUR)
    with RawClient(broker.port) as attic:
        assert attic.connect(NAME, second) == 0
        clock.advance(HOUR)
        wait_until(lambda: not knows(broker, first), what="the end of the overlap")
        attic.ping()


def test_without_an_overlap_the_session_ends_at_once(
    broker: RunningBroker, database: Engine, first: str, clock: Clock
) -> None:
    with RawClient(broker.port) as attic:
        assert attic.connect(NAME, first) == 0
        rotate(broker, database, clock, 0)
        assert attic.is_gone()
    assert not let_in(broker, first)


def test_a_revocation_ends_sessions_of_both_secrets(
    broker: RunningBroker, database: Engine, first: str, clock: Clock
) -> None:
    second = rotate(broker, database, clock, HOUR)
    with RawClient(broker.port) as attic:
        assert attic.connect(NAME, first) == 0
        access.revoke_principal(database, NAME, now=clock.now)
        assert attic.is_gone()
    assert [let_in(broker, secret) for secret in (first, second)] == [False, False]


def test_a_session_that_was_let_in_with_another_role_does_not_outlive_it(
    broker: RunningBroker, database: Engine, clock: Clock
) -> None:
    secret = access.new_principal(database, "acme", "ann", "reader", now=clock.now)
    wait_until(lambda: broker.directory.find("acme._ann"), what="ann's entry")
    with RawClient(broker.port) as ann:
        assert ann.connect("acme._ann", secret) == 0
        from schemas.database.tables import principal

        with database.begin() as connection:
            connection.execute(principal.update().where(principal.c.username == "acme._ann").values(role="operator"))
        assert ann.is_gone()
