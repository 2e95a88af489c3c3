"""The promises of `broker.client.transport`, kept by every implementation on every broker."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from brokers import embedded_broker
from servers import free_port, mosquitto
from waiting import wait_until

from broker.access import policy
from broker.access.policy import Principal, Role, Verb
from broker.client.memory import MemoryBroker, MemoryTransport
from broker.client.mqtt import Mqtt
from broker.client.subscriber import RETRY_SECONDS
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, Transport, WillMaker, never_a_will
from runtime.settings.address import ServerAddress
from schemas.contract import topics

MACHINE = Principal(Role.MACHINE, "home", "attic")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
STATUS = topics.STATUS.at(org="home", machine="attic")
TELEMETRY = topics.TELEMETRY.at(org="home", machine="attic")
ACK = topics.ACK.at(org="home", machine="attic")
UPWARD = tuple((topic.filter(), 1) for topic in (topics.STATUS, topics.TELEMETRY))
PASSWORD = "made-up"
CONNACK = b"\x20\x02\x00\x00"
CONNECT, SUBSCRIBE = 0x10, 0x82


@dataclass
class Fixture:
    """Makes transports on one broker; all of them are closed with the test."""

    make: Callable[[Principal, tuple[tuple[str, int], ...], WillMaker], Transport]
    stop_broker: Callable[[], None]
    start_broker: Callable[[], None]

    def machine(self, will: WillMaker = never_a_will) -> Transport:
        return self.make(MACHINE, ((ACK, 0),), will)

    def ingestor(self) -> Transport:
        return self.make(INGESTOR, UPWARD, never_a_will)


@pytest.fixture(params=["memory", "embedded", "mosquitto"])
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fixture]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield _on_memory()
            return
        port = free_port()
        running = ExitStack()
        stack.callback(running.close)

        def start() -> None:
            if request.param == "mosquitto":
                running.enter_context(mosquitto(tmp_path, port=port))
            else:
                running.enter_context(embedded_broker({MACHINE: PASSWORD, INGESTOR: PASSWORD}, port=port))

        def make(principal: Principal, subscriptions: tuple[tuple[str, int], ...], will: WillMaker) -> Transport:
            transport = Mqtt(
                ServerAddress(host="127.0.0.1", port=port, tls=False),
                username=principal.username,
                password=PASSWORD,
                subscriptions=subscriptions,
                will=will,
                backoff=Backoff(0.1, 0.2),
            )
            stack.callback(transport.close)
            return transport

        start()
        yield Fixture(make, running.close, start)


def _on_memory() -> Fixture:
    broker = MemoryBroker()

    def make(principal: Principal, subscriptions: tuple[tuple[str, int], ...], will: WillMaker) -> Transport:
        return MemoryTransport(broker, client_id=principal.username, subscriptions=subscriptions, will=will)

    return Fixture(make, broker.stop, broker.start)


def receive_until(transport: Transport, wanted: Callable[[Event], bool], *, seconds: float = 15.0) -> list[Event]:
    """Everything received up to and including the first event that is wanted."""
    seen: list[Event] = []

    def arrived() -> bool:
        while events := transport.receive(1, 0.05):
            seen.extend(events)
            if wanted(seen[-1]):
                return True
        return False

    wait_until(arrived, seconds=seconds, what=f"the event (saw {seen})")
    return seen


def connected(event: Event) -> bool:
    return isinstance(event, Connected)


def disconnected(event: Event) -> bool:
    return isinstance(event, Disconnected)


def message_on(topic: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Message) and event.topic == topic


def test_a_published_message_arrives_with_its_topic_payload_and_qos(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    receive_until(ingestor, connected)
    receive_until(machine, connected)
    assert machine.publish(Message(TELEMETRY, b"one", 1))
    assert machine.flush(5)
    assert receive_until(ingestor, message_on(TELEMETRY))[-1] == Message(TELEMETRY, b"one", 1, retain=False)


def test_messages_of_one_client_arrive_in_order(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    receive_until(ingestor, connected)
    receive_until(machine, connected)
    payloads = [str(number).encode() for number in range(200)]
    for payload in payloads:
        assert machine.publish(Message(TELEMETRY, payload, 1))
    assert machine.flush(10)
    last = receive_until(ingestor, lambda event: isinstance(event, Message) and event.payload == payloads[-1])
    assert [event.payload for event in last if isinstance(event, Message)] == payloads


def test_publishing_without_a_connection_says_no_and_keeps_nothing(on: Fixture) -> None:
    ingestor, machine = on.ingestor(), on.machine()
    receive_until(ingestor, connected)
    assert not machine.publish(Message(TELEMETRY, b"too early", 1))
    receive_until(machine, connected)
    assert machine.publish(Message(TELEMETRY, b"now", 1))
    received = receive_until(ingestor, message_on(TELEMETRY))
    assert [event.payload for event in received if isinstance(event, Message)] == [b"now"]


def test_a_retained_message_waits_for_a_later_subscriber_and_says_that_it_did(on: Fixture) -> None:
    machine = on.machine()
    receive_until(machine, connected)
    assert machine.publish(Message(STATUS, b"here", 1, retain=True))
    assert machine.flush(5)
    events = receive_until(on.ingestor(), message_on(STATUS))
    assert isinstance(events[0], Connected)
    assert events[-1] == Message(STATUS, b"here", 1, retain=True)


def test_retained_messages_are_read_again_without_a_subscription_more_or_less(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    for client in (machine, ingestor):
        receive_until(client, connected)
    info = topics.INFO.at(org="home", machine="attic")
    for topic in (STATUS, info):
        assert machine.publish(Message(topic, b"here", 1, retain=True))
    assert machine.flush(5)
    receive_until(ingestor, message_on(STATUS))
    ingestor.reread([(topics.STATUS.filter(), 1), (topics.INFO.filter(), 1)])
    events = receive_until(ingestor, message_on(info))
    assert Message(STATUS, b"here", 1, retain=True) in events + receive_all(ingestor)
    assert machine.publish(Message(info, b"live", 1))
    assert machine.publish(Message(TELEMETRY, b"live", 1))
    seen = [event.topic for event in receive_until(ingestor, message_on(TELEMETRY)) if isinstance(event, Message)]
    assert seen == [TELEMETRY], "it is not subscribed to info"


def receive_all(transport: Transport) -> list[Event]:
    return [event for _ in range(3) for event in transport.receive(100, 0.1)]


def test_a_will_is_made_for_each_connection_and_a_clean_end_drops_it(on: Fixture) -> None:
    sessions = iter(range(1, 10))
    ingestor = on.ingestor()
    receive_until(ingestor, connected)
    machine = on.machine(lambda: Message(STATUS, str(next(sessions)).encode(), 1, retain=True))
    receive_until(machine, connected)
    machine.close()
    machine = on.machine()
    receive_until(machine, connected)
    assert machine.publish(Message(TELEMETRY, b"after", 1))
    received = receive_until(ingestor, message_on(TELEMETRY))
    assert not any(isinstance(event, Message) and event.topic == STATUS for event in received)


def test_after_the_broker_returns_it_connects_and_subscribes_again(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    receive_until(machine, connected)
    receive_until(ingestor, connected)
    on.stop_broker()
    receive_until(machine, disconnected)
    receive_until(ingestor, disconnected)
    assert not machine.publish(Message(TELEMETRY, b"into the void", 1))
    on.start_broker()
    receive_until(ingestor, connected)
    receive_until(machine, connected)
    assert machine.publish(Message(TELEMETRY, b"back", 1))
    assert receive_until(ingestor, message_on(TELEMETRY))[-1] == Message(TELEMETRY, b"back", 1)


def test_the_later_of_two_clients_with_one_id_takes_over(on: Fixture) -> None:
    first = on.machine()
    receive_until(first, connected)
    second = on.machine()
    receive_until(second, connected)
    receive_until(first, disconnected)
    first.close()
    assert second.publish(Message(TELEMETRY, b"mine", 1))
    assert second.flush(5)


def test_a_message_larger_than_a_socket_buffer_arrives_whole(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    receive_until(ingestor, connected)
    receive_until(machine, connected)
    payload = bytes(range(256)) * 800
    assert machine.publish(Message(TELEMETRY, payload, 1))
    assert machine.flush(10)
    assert receive_until(ingestor, message_on(TELEMETRY))[-1] == Message(TELEMETRY, payload, 1)


def test_receive_never_returns_more_than_its_limit(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    receive_until(ingestor, connected)
    receive_until(machine, connected)
    for number in range(50):
        assert machine.publish(Message(TELEMETRY, str(number).encode(), 1))
    assert machine.flush(10)
    batches: list[int] = []

    def all_arrived() -> bool:
        batches.append(len(ingestor.receive(7, 0.05)))
        return sum(batches) >= 50

    wait_until(all_arrived, what="all messages")
    assert max(batches) <= 7


def test_a_wrong_password_is_named_as_a_refusal() -> None:
    with embedded_broker({MACHINE: PASSWORD}) as broker:
        transport = Mqtt(
            ServerAddress(host="127.0.0.1", port=broker.port, tls=False), username=MACHINE.username, password="wrong"
        )
        event = receive_until(transport, disconnected)[-1]
        transport.close()
    assert isinstance(event, Disconnected)
    assert event.refused


def test_a_denied_subscription_is_named_when_connected() -> None:
    foreign = topics.TELEMETRY.filter(org="other")
    with embedded_broker({MACHINE: PASSWORD}) as broker:
        transport = Mqtt(
            ServerAddress(host="127.0.0.1", port=broker.port, tls=False),
            username=MACHINE.username,
            password=PASSWORD,
            subscriptions=[(ACK, 0), (foreign, 1)],
        )
        event = receive_until(transport, connected)[-1]
        transport.close()
    assert event == Connected(refused=(foreign,))


def test_connecting_to_a_silent_address_does_not_hold_up_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    transport = Mqtt(
        ServerAddress(host="127.0.0.1", port=free_port(), tls=False),
        username="x",
        password="x",
        backoff=Backoff(60, 60),
    )
    event = receive_until(transport, disconnected)[-1]
    transport.close()
    assert isinstance(event, Disconnected)
    assert not event.refused


@pytest.mark.parametrize("greeted", [False, True])
def test_a_connection_that_is_reset_before_something_is_sent_is_one_more_that_ended(*, greeted: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = Mqtt(
            ServerAddress(host="127.0.0.1", port=server.getsockname()[1], tls=False),
            username=MACHINE.username,
            password=PASSWORD,
            backoff=Backoff(60, 60),
        )
        transport.receive(1, 0)  # begins to connect
        peer, _ = server.accept()
        wait_until(lambda: "mqtt-opener" not in [thread.name for thread in threading.enumerate()], what="it is open")
        if greeted:
            peer.sendall(CONNACK)
            receive_until(transport, connected)
            assert transport.publish(Message(TELEMETRY, b"one", 0))
        reset(peer)
        event = receive_until(transport, disconnected)[-1]
        transport.close()
    assert isinstance(event, Disconnected)
    assert not event.refused
    assert event.reason.startswith("the broker closed the connection, or the network lost it")


def reset(peer: socket.socket) -> None:
    """End a connection as the kernel does for a process that was killed with unread data."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_backoff_is_uniform_between_a_tenth_of_the_first_bound_and_a_bound_that_doubles_up_to_its_most() -> None:
    bounds = Backoff(1.0, 8.0, random=lambda: 1.0)
    assert [bounds.next() for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    bounds.reset()
    assert bounds.next() == 1
    soonest = Backoff(1.0, 8.0, random=lambda: 0.0)
    assert [soonest.next() for _ in range(3)] == [0.1, 0.1, 0.1]


def test_subscriptions_change_on_a_connection_and_what_is_retained_comes_again(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    receive_until(machine, connected)
    machine.publish(Message(STATUS, b"here", qos=1, retain=True))
    machine.flush(5)
    receive_until(ingestor, message_on(STATUS))
    ingestor.subscribe([(topics.STATUS.filter(), 1)])
    again = receive_until(ingestor, message_on(STATUS))[-1]
    assert isinstance(again, Message)
    assert again.retain
    for topic in (TELEMETRY, STATUS):
        machine.publish(Message(topic, b"after", qos=1))
    seen = receive_until(ingestor, lambda event: isinstance(event, Message) and event.payload == b"after")
    assert not any(isinstance(event, Message) and event.topic == TELEMETRY for event in seen)


def test_changed_subscriptions_are_those_of_the_next_connection(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.ingestor()
    receive_until(ingestor, connected)
    ingestor.subscribe([(topics.TELEMETRY.filter(), 1)])
    on.stop_broker()
    receive_until(ingestor, disconnected)
    on.start_broker()
    receive_until(machine, connected)
    receive_until(ingestor, connected)
    for topic in (STATUS, TELEMETRY):
        machine.publish(Message(topic, b"x", qos=1))
    assert all(
        not isinstance(event, Message) or event.topic == TELEMETRY
        for event in receive_until(ingestor, message_on(TELEMETRY))
    )


def test_a_client_without_subscriptions_takes_some_up_later(on: Fixture) -> None:
    machine, ingestor = on.machine(), on.make(INGESTOR, (), never_a_will)
    receive_until(machine, connected)
    receive_until(ingestor, connected)
    ingestor.subscribe(UPWARD)
    ingestor.flush(5)

    def spoken() -> bool:
        machine.publish(Message(STATUS, b"x", qos=1))
        machine.receive(10, 0.05)
        return any(isinstance(event, Message) for event in ingestor.receive(10, 0.05))

    wait_until(spoken, what="a message on the new subscription")


def test_a_subscription_that_was_refused_is_asked_for_again() -> None:
    """As of a cluster that elects a leader just then."""
    later, granting = [0.0], [False]

    def allowed(principal: Principal, verb: Verb, topic: str) -> bool:
        return granting[0] and policy.allowed(principal, verb, topic)

    with embedded_broker({INGESTOR: PASSWORD}, allowed=allowed) as broker:
        transport = Mqtt(
            broker.address,
            username=INGESTOR.username,
            password=PASSWORD,
            subscriptions=[(STATUS, 1)],
            monotonic=lambda: time.monotonic() + later[0],
        )
        (event,) = receive_until(transport, connected)
        assert event == Connected(refused=(STATUS,))
        granting[0] = True
        later[0] = RETRY_SECONDS

        def heard() -> bool:
            transport.publish(Message(STATUS, b"x", qos=1))
            return any(isinstance(event, Message) for event in transport.receive(10, 0.05))

        wait_until(heard, what="a message on the subscription that was refused at first")
        transport.close()


def test_a_subscription_that_is_refused_at_qos_1_is_made_at_qos_0() -> None:
    """As by a NATS cluster that has lost a node."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = Mqtt(
            ServerAddress(host="127.0.0.1", port=server.getsockname()[1], tls=False),
            username=INGESTOR.username,
            password=PASSWORD,
            subscriptions=UPWARD,
        )
        transport.receive(1, 0)  # begins to connect
        peer, _ = server.accept()
        peer.setblocking(False)
        assert arrived(transport, peer)[0] == CONNECT
        peer.sendall(CONNACK)
        first = arrived(transport, peer)
        assert (first[0], first[-1]) == (SUBSCRIBE, 1)
        peer.sendall(b"\x90\x04" + first[2:4] + b"\x01\x80")  # the first is granted, the second refused
        second = arrived(transport, peer)
        assert (second[0], second[6:-1], second[-1]) == (SUBSCRIBE, UPWARD[1][0].encode(), 0)
        peer.sendall(b"\x90\x03" + second[2:4] + b"\x00")
        assert receive_until(transport, connected) == [Connected()]
        transport.close()
        peer.close()


def arrived(transport: Transport, peer: socket.socket) -> bytes:
    """What a client sends next to a socket that does not block."""

    def received() -> bytes:
        transport.receive(1, 0.01)
        with suppress(BlockingIOError):
            return peer.recv(1000)
        return b""

    return wait_until(received, what="a packet of the client")
