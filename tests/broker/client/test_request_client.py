"""Requests as an operator's side makes and publishes them, over the transport inside one process."""

import json
from collections.abc import Iterator
from itertools import count

import pytest
from clocks import Clock

from broker.access.policy import Principal, Role
from broker.client import request_client
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.request_client import DASHBOARD, REQUEST_BYTES_MAX, RequestClient
from broker.client.transport import Message
from schemas.contract import topics
from schemas.contract.commands import ORDERS_MAX, Act, Cancel, Order, Request, Rollout, Update
from schemas.contract.signing import key_id, new_key, open_signed, public_key

SEED = new_key()
OPERATOR = Principal(Role.OPERATOR, "home", "act")
NAMES = [f"web-{i}" for i in range(450)]


def ids() -> Iterator[str]:
    return (f"{i:032x}" for i in count(1))


def an_order(*machines: str, now: int = 1000) -> list[Order]:
    return request_client.orders(machines or ["attic"], "ping", {}, org="home", now=now, lifetime_seconds=60)


class Ingestor:
    """Hears what the operator publishes and answers as told."""

    def __init__(self, broker: MemoryBroker, clock: Clock) -> None:
        self.transport = MemoryTransport(
            broker, client_id="_ingestor", subscriptions=[(topics.REQUEST.filter(), 1)], pass_time=clock.advance
        )
        self.transport.receive(10, 0)

    def heard(self) -> list[Message]:
        return [event for event in self.transport.receive(1000, 0) if isinstance(event, Message)]

    def answer(self, request: str, *, level: str = "act", **said: object) -> None:
        update = Update.model_validate({"request": request, "state": "accepted", "at": 1, **said})
        topic = topics.UPDATE.at(org="home", principal=level)
        assert self.transport.publish(Message(topic, update.encode(), 1))


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def ingestor(broker: MemoryBroker, clock: Clock) -> Ingestor:
    return Ingestor(broker, clock)


@pytest.fixture
def transport(broker: MemoryBroker, clock: Clock) -> MemoryTransport:
    return MemoryTransport(
        broker,
        client_id=OPERATOR.username,
        subscriptions=RequestClient.subscriptions(OPERATOR),
        pass_time=clock.advance,
    )


@pytest.fixture
def client(transport: MemoryTransport, clock: Clock) -> RequestClient:
    return RequestClient(transport, OPERATOR, clock=clock)


def a_request(clock: Clock) -> Request:
    (request,) = request_client.act(an_order(now=clock.now()), SEED, actor="ada")
    return request


def test_each_machine_gets_an_order_of_its_own_that_is_signed() -> None:
    wanted = request_client.orders(["a", "b"], "message", {"text": "hé"}, org="home", now=5, lifetime_seconds=60)
    (request,) = request_client.act(wanted, SEED, actor="ada", rollout=Rollout(canary=1))
    assert isinstance(request.change, Act)
    assert request.change.rollout.canary == 1
    for signed, order in zip(request.change.orders, wanted, strict=True):
        assert signed.key == key_id(public_key(SEED))
        assert open_signed(signed, public_key(SEED), Order) == order
    assert (wanted[0].machine, wanted[0].issued_at, wanted[0].expires_at) == ("a", 5, 60_005)
    assert wanted[0].id != wanted[1].id


def test_a_large_selection_travels_as_several_requests_of_one_batch() -> None:
    made = request_client.act(an_order(*NAMES), SEED, actor="ada")
    changes = [request.change for request in made if isinstance(request.change, Act)]
    assert [len(change.orders) for change in changes] == [ORDERS_MAX, ORDERS_MAX, 50]
    assert len({change.batch for change in changes}) == 1
    assert len({request.id for request in made}) == 3
    machines = [json.loads(order.statement)["machine"] for change in changes for order in change.orders]
    assert machines == NAMES


def test_no_request_is_larger_than_half_of_what_a_broker_takes() -> None:
    wanted = request_client.orders(NAMES, "message", {"text": '"' * 4000}, org="home", now=1, lifetime_seconds=60)
    made = request_client.act(wanted, SEED, actor="ada")
    assert max(len(request.encode()) for request in made) < REQUEST_BYTES_MAX + 1000
    assert sum(len(request.change.orders) for request in made if isinstance(request.change, Act)) == len(NAMES)


def test_an_order_that_would_live_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="30 days"):
        request_client.orders(["a"], "ping", {}, org="home", now=1, lifetime_seconds=31 * 86_400)


def test_many_commands_are_cancelled_in_several_requests() -> None:
    made = request_client.cancel([f"{i:032x}" for i in range(1001)], actor="ada")
    assert [len(request.change.commands) for request in made if isinstance(request.change, Cancel)] == [1000, 1]


def test_a_request_is_published_again_with_the_same_ids_until_it_is_answered(
    client: RequestClient, ingestor: Ingestor, clock: Clock
) -> None:
    request = a_request(clock)
    client.send("home", request, until=clock.now() + 60_000)
    client.step(1.0)
    assert [Request.decode(message.payload) for message in ingestor.heard()] == [request]
    for _ in range(4):
        client.step(1.0)
    assert not ingestor.heard()
    client.step(1.0)
    assert [Request.decode(message.payload) for message in ingestor.heard()] == [request]
    ingestor.answer(request.id)
    assert [update.state for update in client.step(1.0)] == ["accepted"]
    assert not client.pending
    for _ in range(10):
        client.step(1.0)
    assert not ingestor.heard()


def test_any_update_about_a_request_says_that_it_was_received(
    client: RequestClient, ingestor: Ingestor, clock: Clock
) -> None:
    request = a_request(clock)
    client.send("home", request, until=clock.now() + 60_000)
    client.step(0)
    ingestor.answer(request.id, state="queued", command="1" * 32, machine="attic", action="ping")
    assert [update.state for update in client.step(0)] == ["queued"]
    assert not client.pending


def test_what_was_asked_without_a_connection_goes_out_with_the_next_one(
    client: RequestClient, ingestor: Ingestor, transport: MemoryTransport, clock: Clock
) -> None:
    client.step(0)
    transport.cut("the network went away")
    client.step(0)
    assert not client.connected or ingestor
    request = a_request(clock)
    client.send("home", request, until=clock.now() + 60_000)
    client.step(0)
    assert len(ingestor.heard()) >= 1
    transport.cut("and again")
    client.step(0)
    client.step(0)
    assert [Request.decode(message.payload).id for message in ingestor.heard()] == [request.id]


def test_a_request_that_nobody_needs_any_more_is_dropped(
    client: RequestClient, ingestor: Ingestor, broker: MemoryBroker, clock: Clock
) -> None:
    client.step(0)
    broker.stop()
    client.send("home", a_request(clock), until=clock.now() + 10_000)
    client.step(0)
    assert client.trouble
    client.step(10.0)
    broker.start()
    client.step(0)
    client.step(0)
    assert not client.pending
    assert not ingestor.heard()


def test_a_broken_update_is_counted_and_passed_over(client: RequestClient, ingestor: Ingestor, clock: Clock) -> None:
    request = a_request(clock)
    client.send("home", request, until=clock.now() + 60_000)
    client.step(0)
    ingestor.transport.publish(Message(topics.UPDATE.at(org="home", principal="act"), b'{"v": 1', 1))
    assert client.step(0) == []
    assert client.unreadable == 1
    assert client.pending == {request.id}


def test_the_dashboard_asks_for_every_organisation_on_a_level_of_its_own(
    broker: MemoryBroker, ingestor: Ingestor, clock: Clock
) -> None:
    transport = MemoryTransport(
        broker, client_id=DASHBOARD.username, subscriptions=RequestClient.subscriptions(DASHBOARD)
    )
    client = RequestClient(transport, DASHBOARD, clock=clock)
    client.send("acme", a_request(clock), until=clock.now() + 60_000)
    client.step(0)
    (message,) = ingestor.heard()
    assert message.topic == topics.REQUEST.at(org="acme", principal="_dashboard")
    ingestor.answer(Request.decode(message.payload).id, level="_dashboard")
    assert [update.state for update in client.step(0)] == ["accepted"]


def test_an_operator_hears_only_its_own_updates(client: RequestClient, ingestor: Ingestor) -> None:
    client.step(0)
    ingestor.answer("1" * 32, level="_dashboard")
    assert client.step(0) == []
