"""One client of the embedded broker: what it may send, how long it may be silent, how much may wait for it."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from brokers import (
    PASSWORD,
    Gone,
    RawClient,
    RunningBroker,
    connect_packet,
    embedded_broker,
    packed,
    publish_packet,
    text,
)
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.client.transport import Message
from broker.embedded.codec import Packet
from broker.embedded.connection import Admission, Connection, ConnectionLimits
from broker.embedded.send_queue import SendQueue
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
CELLAR = Principal(Role.MACHINE, "home", "cellar")
READER = Principal(Role.READER, "home", "grafana")
OTHER = Principal(Role.READER, "home", "other")
INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
SECRETS = dict.fromkeys((ATTIC, CELLAR, READER, OTHER, INGESTOR), PASSWORD)

STATUS = topics.STATUS.at(org="home", machine="attic")
TELEMETRY = topics.TELEMETRY.at(org="home", machine="attic")
BACKFILL = topics.BACKFILL.at(org="home", machine="attic")
CELLARS_STATUS = topics.STATUS.at(org="home", machine="cellar")
LOST = (STATUS, b"lost", 1, True)


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    with embedded_broker(SECRETS, connect_seconds=0.5) as running:
        yield running


@pytest.fixture
def ingestor(broker: RunningBroker) -> Iterator[RawClient]:
    with joined(broker, INGESTOR, topics.STATUS.filter()) as client:
        yield client


def joined(broker: RunningBroker, principal: Principal, *filters: str, qos: int = 1, **fields: Any) -> RawClient:  # noqa: ANN401
    """A connected client of this principal with these subscriptions, all granted."""
    client = RawClient(broker.port)
    assert client.connect(principal.username, **fields) == 0
    if filters:
        assert client.subscribe(*filters, qos=qos) == [qos] * len(filters)
    return client


def stays(client: RawClient) -> bool:
    """Whether a ping is answered; raises Gone when the broker ended the connection."""
    client.ping()
    return True


# The first packet


def test_who_says_nothing_is_cut_in_time(broker: RunningBroker) -> None:
    started = time.monotonic()
    with RawClient(broker.port) as silent:
        assert silent.is_gone()
    assert 0.4 < time.monotonic() - started < 5


def test_a_connect_that_drips_is_cut_in_time_however_often_a_byte_comes(broker: RunningBroker) -> None:
    started = time.monotonic()
    with RawClient(broker.port) as slow:
        slow.socket.settimeout(0.05)
        for byte in connect_packet("home.attic"):
            try:
                slow.send(bytes([byte]))
                slow.packet()
            except TimeoutError:
                continue
            except Gone:
                break
        else:
            pytest.fail("it was let in")
    assert time.monotonic() - started < 5


def test_a_client_that_was_let_in_may_be_silent_for_longer_than_that(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic, RawClient(broker.port) as silent:
        assert silent.is_gone()
        stays(attic)


@pytest.mark.parametrize(("protocol", "level"), [("MQTT", 3), ("MQIsdp", 3), ("MQTT", 0x84)])
def test_another_version_of_mqtt_is_answered_with_unacceptable_protocol_version(
    broker: RunningBroker, protocol: str, level: int
) -> None:
    with RawClient(broker.port) as client:
        assert client.connect("home.attic", protocol=protocol, level=level) == 1
        assert client.is_gone()


def test_a_client_of_mqtt_5_is_answered_in_the_form_of_mqtt_5(broker: RunningBroker) -> None:
    body = text("MQTT") + b"\x05\xc2\x00\x3c" + b"\x05\x11\x00\x00\x00\x3c" + text("home.attic")
    with RawClient(broker.port) as client:
        client.send(packed(0x10, body + text("home.attic") + text(PASSWORD)))
        assert client.packet() == (0x20, b"\x00\x84\x00")
        assert client.is_gone()


CONNECT = connect_packet("home.attic")
WITH_A_WILL = connect_packet("home.attic", will=LOST)


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
        publish_packet(STATUS),
        b"\xc0\x00",
        b"\x00\x00",
        b"\xf0\x00",
        b"\x10\x00",
        b"\x10\xff\xff\xff\xff\x7f",
        b"\x1f" + CONNECT[1:],
        packed(0x10, CONNECT[2:] + b"\x00"),
        packed(0x10, CONNECT[2:-1]),
        packed(0x10, CONNECT[2:20]),
        connect_packet("home.attic", protocol="HTTP"),
        CONNECT[:9] + bytes([CONNECT[9] | 0x01]) + CONNECT[10:],
        CONNECT[:9] + bytes([CONNECT[9] | 0x20]) + CONNECT[10:],
        CONNECT[:9] + bytes([CONNECT[9] | 0x08]) + CONNECT[10:],
        WITH_A_WILL[:9] + bytes([WITH_A_WILL[9] | 0x18]) + WITH_A_WILL[10:],
        connect_packet("home.attic", will=("", b"", 1, True)),
        connect_packet("home.attic", will=("dashfleet/v1/home/+/up/status", b"", 1, True)),
    ],
)
def test_a_first_packet_that_is_no_right_connect_ends_the_connection_without_an_answer(
    broker: RunningBroker, first: bytes
) -> None:
    with RawClient(broker.port) as client:
        client.send(first)
        with pytest.raises(Gone):
            client.packet()
    assert broker.clients == frozenset()


# Packets that end a connection


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "dashfleet/v1/home/+/up/status",
        "dashfleet/#",
        STATUS + "\0",
        b"dashfleet/v1/\xff/attic/up/status",
        b"\xed\xa0\x80",  # half a surrogate pair
        STATUS.encode() + b"\xc0\x80",  # a NUL in two bytes
    ],
)
@pytest.mark.parametrize("qos", [0, 1])
def test_publishing_where_nothing_can_be_published_ends_the_connection_and_sends_its_will(
    broker: RunningBroker, ingestor: RawClient, topic: str | bytes, qos: int
) -> None:
    with joined(broker, ATTIC, will=LOST) as attic:
        attic.send(publish_packet(topic, qos=qos))
        assert attic.is_gone()
        assert ingestor.message().payload == b"lost"
        assert broker.clients == {"_ingestor"}


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(CONNECT, id="a second CONNECT"),
        pytest.param(b"\x00\x00", id="a reserved type"),
        pytest.param(b"\xf0\x00", id="another reserved type"),
        pytest.param(b"\x20\x02\x00\x00", id="CONNACK"),
        pytest.param(b"\x90\x03\x00\x01\x00", id="SUBACK"),
        pytest.param(b"\xd0\x00", id="PINGRESP"),
        pytest.param(b"\x50\x02\x00\x01", id="PUBREC, as nothing is sent at QoS 2"),
        pytest.param(b"\xc1\x00", id="PINGREQ with flags"),
        pytest.param(b"\xc0\x01x", id="PINGREQ with a body"),
        pytest.param(b"\xe0\x01x", id="DISCONNECT with a body"),
        pytest.param(b"\x80" + packed(0x82, b"\x00\x01" + text(STATUS) + b"\x01")[1:], id="SUBSCRIBE without flags"),
        pytest.param(packed(0x82, b"\x00\x01"), id="SUBSCRIBE to nothing"),
        pytest.param(packed(0x82, b"\x00\x00" + text(STATUS) + b"\x01"), id="SUBSCRIBE with packet id 0"),
        pytest.param(packed(0x82, b"\x00\x01" + text(STATUS) + b"\x03"), id="SUBSCRIBE with QoS 3"),
        pytest.param(packed(0x82, b"\x00\x01" + text(STATUS)), id="SUBSCRIBE that ends early"),
        pytest.param(packed(0x82, b"\x00\x01" + text(b"\xff") + b"\x01"), id="SUBSCRIBE to what is not UTF-8"),
        pytest.param(packed(0xA2, b"\x00\x01"), id="UNSUBSCRIBE from nothing"),
        pytest.param(packed(0x36, text(STATUS) + b"\x00\x01x"), id="PUBLISH at QoS 3"),
        pytest.param(packed(0x32, text(STATUS) + b"\x00\x00x"), id="PUBLISH with packet id 0"),
        pytest.param(packed(0x38, text(STATUS) + b"x"), id="PUBLISH at QoS 0 again"),
        pytest.param(packed(0x32, text(STATUS)), id="PUBLISH without packet id"),
        pytest.param(packed(0x30, b"\xff\xff" + STATUS.encode()), id="PUBLISH with a topic longer than itself"),
        pytest.param(packed(0x40, b"\x00\x01\x00"), id="PUBACK with more than an id"),
        pytest.param(packed(0x40, b"\x00"), id="PUBACK with less than an id"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="a length of five digits"),
    ],
)
def test_a_packet_that_breaks_the_protocol_ends_the_connection_and_sends_its_will(
    broker: RunningBroker, ingestor: RawClient, packet: bytes
) -> None:
    with joined(broker, ATTIC, will=LOST) as attic:
        attic.send(packet)
        assert attic.is_gone()
        assert ingestor.message().payload == b"lost"
        assert broker.counters["violations"] == 1
        stays(ingestor)


def test_nothing_that_follows_such_a_packet_is_acted_upon(broker: RunningBroker, ingestor: RawClient) -> None:
    with joined(broker, ATTIC) as attic, joined(broker, CELLAR) as cellar:
        attic.send(publish_packet(STATUS, b"before") + publish_packet("a/+") + publish_packet(STATUS, b"after"))
        assert attic.is_gone()
        cellar.publish(CELLARS_STATUS, b"last")
        assert [message.payload for message in ingestor.messages_until(b"last")] == [b"before"]


def test_a_packet_up_to_the_limit_is_taken_and_one_byte_more_ends_the_connection() -> None:
    largest = 4096
    payload = bytes(largest - len(text(BACKFILL)) - 2)
    with embedded_broker(SECRETS, max_packet_bytes=largest) as broker, joined(broker, ATTIC) as attic:
        attic.publish(BACKFILL, payload)
        attic.send(publish_packet(BACKFILL, payload + b"x"))
        assert attic.is_gone()


def test_a_packet_that_is_too_large_is_refused_by_its_length_before_it_comes(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic, RawClient(broker.port) as stranger:
        attic.send(b"\x32\xff\xff\xff\x7f")
        assert attic.is_gone()
        stranger.send(b"\x10\xff\xff\xff\x7f")
        assert stranger.is_gone()


# Wills and silence


def test_a_client_that_says_disconnect_leaves_no_will(broker: RunningBroker, ingestor: RawClient) -> None:
    with joined(broker, ATTIC, will=LOST) as attic, joined(broker, CELLAR) as cellar:
        attic.send(b"\xe0\x00")
        assert attic.is_gone()
        cellar.publish(CELLARS_STATUS, b"last")
        assert ingestor.messages_until(b"last") == []


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_client_that_just_goes_leaves_its_will_which_is_retained_if_it_said_so(
    broker: RunningBroker, ingestor: RawClient, how: str
) -> None:
    attic = joined(broker, ATTIC, will=LOST)
    attic.reset() if how == "rst" else attic.socket.close()
    assert ingestor.message().payload == b"lost"
    assert ingestor.subscribe(STATUS) == [1]
    assert ingestor.message().retain


def test_a_client_silent_for_one_and_a_half_keep_alives_is_lost(broker: RunningBroker, ingestor: RawClient) -> None:
    with joined(broker, ATTIC, keep_alive=1, will=LOST) as half_open:
        started = time.monotonic()
        assert ingestor.message().payload == b"lost"
        assert 1.3 < time.monotonic() - started < 4
        assert half_open.is_gone()
        assert broker.counters["silent"] == 1


def test_half_a_packet_is_no_sign_of_life(broker: RunningBroker, ingestor: RawClient) -> None:
    with joined(broker, ATTIC, keep_alive=1, will=LOST) as attic:
        attic.socket.settimeout(0.2)
        for byte in publish_packet(STATUS, bytes(200)):
            try:
                attic.send(bytes([byte]))
                attic.packet()
            except TimeoutError:
                continue
            except Gone:
                break
        assert ingestor.message().payload == b"lost"


def test_a_client_that_sends_anything_in_time_stays(broker: RunningBroker) -> None:
    with joined(broker, ATTIC, keep_alive=1, will=LOST) as attic, joined(broker, CELLAR, keep_alive=1) as silent:
        wait_until(lambda: stays(attic) and "home.cellar" not in broker.clients, what="the silent one gone")
        stays(attic)
        assert "home.attic" in broker.clients
        assert silent.is_gone()


def test_a_keep_alive_of_zero_asks_for_no_limit(broker: RunningBroker) -> None:
    with joined(broker, ATTIC, keep_alive=0) as attic, joined(broker, CELLAR, keep_alive=1) as silent:
        assert silent.is_gone()
        stays(attic)


# Delivery


def test_qos_2_is_taken_once_from_a_publisher_that_sends_it_twice(broker: RunningBroker, ingestor: RawClient) -> None:
    with joined(broker, ATTIC) as attic:
        for dup in (0, 8):
            attic.send(packed(0x34 | dup, text(STATUS) + b"\x00\x05once"))
            assert attic.reply(0x50) == b"\x00\x05"
        for _ in range(2):
            attic.send(b"\x62\x02\x00\x05")
            assert attic.reply(0x70) == b"\x00\x05"
        attic.send(packed(0x34, text(STATUS) + b"\x00\x05again"))
        assert attic.reply(0x50) == b"\x00\x05"
        attic.publish(STATUS, b"last")
        assert [message.payload for message in ingestor.messages_until(b"last")] == [b"once", b"again"]


def test_messages_beyond_the_window_wait_for_an_acknowledgement_in_their_order() -> None:
    with (
        embedded_broker(SECRETS, limits=ConnectionLimits(window=3)) as broker,
        joined(broker, READER, TELEMETRY) as reader,
        joined(broker, ATTIC) as attic,
    ):
        for number in range(10):
            attic.publish(TELEMETRY, b"%d" % number)
        first = [reader.message(acknowledge=False) for _ in range(3)]
        reader.ping()
        assert reader.nothing_waits()
        assert len({message.packet_id for message in first}) == 3
        for message in reversed(first):
            reader.acknowledge(message)
        rest = [reader.message() for _ in range(7)]
        assert [int(message.payload) for message in (*first, *rest)] == list(range(10))


def test_an_acknowledgement_of_nothing_is_ignored(broker: RunningBroker) -> None:
    with joined(broker, ATTIC) as attic:
        attic.send(b"\x40\x02\x00\x63")
        stays(attic)


def test_a_reader_that_takes_nothing_is_cut_and_costs_the_others_nothing() -> None:
    payload = bytes(50_000)
    with (
        embedded_broker(SECRETS, limits=ConnectionLimits(queue_bytes=1 << 20)) as broker,
        joined(broker, OTHER, BACKFILL) as reader,
        joined(broker, ATTIC) as attic,
        RawClient(broker.port, receive_buffer=4096) as slow,
    ):
        assert slow.connect("home._grafana") == 0
        assert slow.subscribe(BACKFILL) == [1]
        sent = 0
        while "home._grafana" in broker.clients:
            attic.publish(BACKFILL, payload)
            sent += 1
            assert len(reader.message().payload) == len(payload)
            assert sent < 500, "it was never cut"
        assert broker.counters["slow"] == 1
        stays(reader)


def test_a_reader_that_acknowledges_nothing_is_cut_too() -> None:
    limits = ConnectionLimits(window=10, queue_bytes=100_000)
    with (
        embedded_broker(SECRETS, limits=limits) as broker,
        joined(broker, READER, BACKFILL) as silent,
        joined(broker, ATTIC) as attic,
    ):
        for _ in range(40):
            attic.publish(BACKFILL, bytes(5000))
        assert silent.is_gone()
        assert broker.counters["slow"] == 1


def test_many_slow_readers_with_wills_are_all_cut_and_nobody_else_is() -> None:
    machines = [Principal(Role.MACHINE, "home", f"m{number}") for number in range(20)]
    command = {machine: topics.COMMAND.at(org="home", machine=machine.name) for machine in machines}
    status = {machine: topics.STATUS.at(org="home", machine=machine.name) for machine in machines}
    secrets = dict.fromkeys((*machines, INGESTOR), PASSWORD)
    with (
        embedded_broker(secrets, limits=ConnectionLimits(window=1, queue_bytes=1000)) as broker,
        joined(broker, INGESTOR, topics.STATUS.filter()) as ingestor,
    ):
        clients = [
            joined(broker, machine, command[machine], will=(status[machine], b"lost", 1, False)) for machine in machines
        ]
        for machine in machines:
            for _ in range(3):
                ingestor.publish(command[machine], bytes(900))
        assert sorted(ingestor.message().topic for _ in machines) == sorted(status.values())
        for client in clients:
            with client:
                assert client.is_gone()
        stays(ingestor)


def test_the_retained_messages_of_a_whole_fleet_do_not_count_as_slow_reading() -> None:
    machines = [Principal(Role.MACHINE, "home", f"m{number}") for number in range(30)]
    with embedded_broker(
        dict.fromkeys((*machines, READER), PASSWORD), limits=ConnectionLimits(window=2, queue_bytes=20_000)
    ) as broker:
        for machine in machines:
            with joined(broker, machine) as client:
                client.publish(topics.INFO.at(org="home", machine=machine.name), bytes(10_000), retain=True)
        with joined(broker, READER, topics.INFO.filter(org="home")) as reader:
            assert len({reader.message().topic for _ in machines}) == 30
            stays(reader)


def test_a_large_message_arrives_whole(broker: RunningBroker) -> None:
    payload = bytes(range(256)) * 900
    with joined(broker, READER, BACKFILL) as reader, joined(broker, ATTIC) as attic:
        attic.publish(BACKFILL, payload)
        assert reader.message().payload == payload


def test_packets_may_come_in_any_pieces(broker: RunningBroker, ingestor: RawClient) -> None:
    with RawClient(broker.port) as attic:
        attic.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in connect_packet("home.attic") + publish_packet(STATUS, b"in pieces"):
            attic.send(bytes([byte]))
        assert attic.reply(0x20) == b"\x00\x00"
        assert attic.reply(0x40) == b"\x00\x01"
        attic.send((publish_packet(STATUS, b"at once", packet_id=9) + b"\xc0\x00") * 3)
        for _ in range(3):
            assert attic.reply(0x40) == b"\x00\x09"
            attic.reply(0xD0)
    assert [ingestor.message().payload for _ in range(4)] == [b"in pieces", b"at once", b"at once", b"at once"]


# Inside one process, for what no client can time


class Hub:
    """A broker around one connection, which keeps what was published and may do something then."""

    def __init__(self, *, queue_bytes: int = 10_000) -> None:
        self.published: list[bytes] = []
        self.forgotten = 0
        self.on_publish: Callable[[], None] = lambda: None
        self._queue_bytes = queue_bytes

    def admit(self, connection: Connection, connect: Packet) -> Admission:
        connection.username = connect.username
        queue = SendQueue(max_bytes=self._queue_bytes, window=1)
        will = Message(*LOST) if connect.will_flag else None
        return Admission(queue, max_filters=10, rate=None, will=will)

    def publish(self, username: str, message: Message) -> None:
        assert username == "home.attic"
        self.published.append(message.payload)
        self.on_publish()

    def subscribe(self, _connection: Connection, filters: Sequence[tuple[str, int]]) -> list[int]:
        return [qos for _, qos in filters]

    async def send_retained(self, connection: Connection, granted: Mapping[str, int]) -> None: ...

    def unsubscribe(self, connection: Connection, filters: Sequence[str]) -> None: ...

    def report(self, subject: str, message: str) -> None: ...

    def forget(self, _connection: Connection) -> None:
        self.forgotten += 1

    def count(self, what: str) -> None: ...


class Writer:
    """As much of a StreamWriter as a connection uses."""

    def __init__(self) -> None:
        self.transport = self
        self.aborted = 0

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def abort(self) -> None:
        self.aborted += 1


def alone(hub: Hub, sent: bytes, scenario: Callable[[Connection], Awaitable[None]]) -> None:
    """Run a scenario beside a connection whose client has sent a CONNECT with a will, and this."""

    async def both() -> None:
        reader, writer = asyncio.StreamReader(), Writer()
        reader.feed_data(connect_packet("home.attic", will=LOST) + sent)
        connection = Connection(hub, reader, writer)  # type: ignore[arg-type]
        serving = asyncio.create_task(connection.serve(max_packet_bytes=1000, connect_seconds=5))
        await scenario(connection)
        reader.feed_eof()
        await serving
        assert (hub.forgotten, writer.aborted) == (1, 1)

    asyncio.run(both())


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_was_read_before_a_connection_was_ended_is_not_acted_upon_after() -> None:
    hub = Hub()

    async def scenario(connection: Connection) -> None:
        hub.on_publish = lambda: connection.end("revoked", publish_will=False)
        await turns()

    alone(hub, publish_packet(STATUS, b"before") + publish_packet(STATUS, b"after"), scenario)
    assert hub.published == [b"before"]


def test_a_connection_ends_once_and_its_will_is_out_when_the_end_returns() -> None:
    hub = Hub()

    async def scenario(connection: Connection) -> None:
        await turns()
        connection.end("first")
        assert hub.published == [b"lost"]
        connection.end("second")

    alone(hub, b"", scenario)
    assert hub.published == [b"lost"]


def test_a_slow_client_is_cut_when_the_message_has_been_routed_to_everybody_not_in_the_middle() -> None:
    hub = Hub(queue_bytes=500)

    async def scenario(connection: Connection) -> None:
        await turns()
        for _ in range(10):
            connection.send(Message(STATUS, bytes(300)))
        assert hub.published == []
        await turns()
        assert hub.published == [b"lost"]

    alone(hub, b"", scenario)


def test_a_client_that_sent_much_at_once_lets_the_others_in_between() -> None:
    hub = Hub(queue_bytes=100_000)
    seen = []

    async def scenario(_: Connection) -> None:
        while len(hub.published) < 1000:
            await asyncio.sleep(0)
            seen.append(len(hub.published))

    alone(hub, publish_packet(STATUS, qos=0) * 1000, scenario)
    assert max(after - before for before, after in pairwise(seen)) <= 64


def test_a_connection_that_was_ended_before_it_was_let_in_is_not_let_in() -> None:
    hub = Hub()

    async def both() -> None:
        reader, writer = asyncio.StreamReader(), Writer()
        connection = Connection(hub, reader, writer)  # type: ignore[arg-type]
        serving = asyncio.create_task(connection.serve(max_packet_bytes=1000, connect_seconds=5))
        await turns()
        reader.feed_data(connect_packet("home.attic"))
        connection.end("the broker stops")
        await serving
        assert connection.username == ""

    asyncio.run(both())
