"""An enrolment token at the embedded broker: many may use it at once, for one thing only."""

from collections.abc import Iterator

import pytest
from brokers import PASSWORD, RawClient, RunningBroker, embedded_broker

from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from schemas.contract import topics

TOKEN = Principal(Role.ENROL, "acme", "token-1")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
OWN = {"org": "acme", "principal": "token-1"}
REQUEST, ANSWER = topics.ENROL_REQUEST.at(**OWN), topics.ENROL_ANSWER.at(**OWN)
ACCEPTED, IDENTIFIER_REJECTED = 0, 2


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    directory = MemoryDirectory({TOKEN: PASSWORD, INGESTOR: PASSWORD})
    with embedded_broker({}, directory=directory) as running:
        yield running


def name(number: int) -> str:
    return f"{TOKEN.username}.{number:032x}"


@pytest.mark.parametrize(
    "client_id",
    ["", TOKEN.username, "acme.attic", "_ingestor", f"{TOKEN.username}.{'0' * 31}", f"acme._token-2.{'0' * 32}"],
)
def test_it_is_called_by_its_user_name_and_a_nonce(broker: RunningBroker, client_id: str) -> None:
    with RawClient(broker.port) as client:
        assert client.connect(TOKEN.username, client_id=client_id) == IDENTIFIER_REJECTED


def test_several_machines_use_it_at_once_and_each_hears_the_answers(broker: RunningBroker) -> None:
    with RawClient(broker.port) as first, RawClient(broker.port) as second, RawClient(broker.port) as ingestor:
        for number, client in enumerate((first, second)):
            assert client.connect(TOKEN.username, client_id=name(number)) == ACCEPTED
            assert client.subscribe(ANSWER) == [1]
        assert ingestor.connect(INGESTOR.username) == ACCEPTED
        assert ingestor.subscribe(topics.ENROL_REQUEST.filter()) == [1]
        first.publish(REQUEST, b"please")
        assert ingestor.message().topic == REQUEST
        assert broker.clients == {name(0), name(1), "_ingestor"}
        ingestor.publish(ANSWER, b"here")
        assert [client.message().payload for client in (first, second)] == [b"here", b"here"]


def test_the_same_nonce_again_takes_over_its_own_connection_only(broker: RunningBroker) -> None:
    with RawClient(broker.port) as first, RawClient(broker.port) as other, RawClient(broker.port) as again:
        for number, client in ((1, first), (2, other), (1, again)):
            assert client.connect(TOKEN.username, client_id=name(number)) == ACCEPTED
        assert first.is_gone()
        other.ping()
        again.ping()


def test_it_reads_and_publishes_nothing_else(broker: RunningBroker) -> None:
    machine = {"org": "acme", "machine": "attic"}
    with RawClient(broker.port) as client, RawClient(broker.port) as ingestor:
        client.connect(TOKEN.username, client_id=name(1))
        ingestor.connect(INGESTOR.username)
        ingestor.subscribe(topics.TELEMETRY.filter(), topics.ENROL_REQUEST.filter())
        filters = (
            topics.ENROL_ANSWER.filter(org="acme"), topics.ENROL_ANSWER.at(org="acme", principal="token-2"),
            topics.ORG_CONFIG.at(org="acme"), topics.STATUS.at(**machine), REQUEST, "#",
        )  # fmt: skip
        assert client.subscribe(*filters) == [0x80] * len(filters)
        client.publish(topics.TELEMETRY.at(**machine), b"mine")
        client.publish(topics.ENROL_REQUEST.at(org="acme", principal="token-2"), b"another's")
        client.publish(REQUEST, b"last")
        assert [message.payload for message in ingestor.messages_until(b"last")] == []


def test_a_revoked_token_ends_all_its_connections(broker: RunningBroker) -> None:
    with RawClient(broker.port) as first, RawClient(broker.port) as second:
        for number, client in enumerate((first, second)):
            client.connect(TOKEN.username, client_id=name(number))
        assert isinstance(broker.directory, MemoryDirectory)
        broker.directory.revoke(TOKEN.username)
        assert first.is_gone()
        assert second.is_gone()
