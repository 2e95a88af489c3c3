"""The client on one end of a pair of sockets: what it makes of bytes, however they are cut, and what it sends."""

import socket
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise

import pytest
from brokers import packed, publish_packet, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from broker.client.fast_client import FastClient

Delivered = tuple[bytes, bytes, int, bool]
MESSAGES: list[Delivered] = [
    (b"a/b", b"", 0, False),
    (b"a/c", b"x" * 300, 1, True),
    ("größe".encode(), bytes(20_000), 1, False),
    (b"\xff", b"not UTF-8", 0, True),
]
STREAM = b"".join(
    publish_packet(topic, payload, qos=qos, retain=retain, packet_id=0x0102) for topic, payload, qos, retain in MESSAGES
)


class Connection:
    """A client that takes itself for connected, and the other end."""

    def __init__(self) -> None:
        self.delivered: list[Delivered] = []
        self.lost: list[str] = []
        self.client = FastClient(CallbackAPIVersion.VERSION2, client_id="x", deliver=self._deliver)
        self.client.on_disconnect = lambda *arguments: self.lost.append(str(arguments[3]))
        self.client._sock, self.server = socket.socketpair()
        self.client._sock.setblocking(False)
        self.server.setblocking(False)

    def _deliver(self, *message: object) -> None:
        self.delivered.append(message)  # type: ignore[arg-type]

    def say(self, data: bytes) -> None:
        """Let this arrive, and have it read."""
        self.server.sendall(data)
        self.client.loop_read()

    def heard(self) -> bytes:
        """What the client has sent."""
        try:
            return self.server.recv(1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.server.close()
        self.client._sock_close()


@pytest.fixture
def connection() -> Iterator[Connection]:
    opened = Connection()
    yield opened
    opened.close()


def test_paho_is_the_version_whose_members_are_overridden() -> None:
    assert version("paho-mqtt") == "2.2.0", (
        "read broker/client/fast_client.py against the new version before moving the pin"
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
def test_messages_arrive_whole_however_the_network_cuts_them(cuts: list[int]) -> None:
    connection = Connection()
    places = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(places):
        if start < end:
            connection.say(STREAM[start:end])
    assert connection.delivered == MESSAGES
    assert connection.heard() == b"\x40\x02\x01\x02" * 2
    assert connection.lost == []
    connection.close()


def test_a_burst_is_acknowledged_at_once_in_its_order(connection: Connection) -> None:
    connection.say(b"".join(publish_packet("a", b"x", qos=1, packet_id=number) for number in range(1, 101)))
    assert len(connection.delivered) == 100
    assert connection.heard() == b"".join(b"\x40\x02" + number.to_bytes(2) for number in range(1, 101))


@pytest.mark.parametrize(
    "wrong",
    [
        publish_packet("a", b"x", qos=2),
        b"\x36" + publish_packet("a", b"x", qos=2)[1:],
        packed(0x30, b"\x00\x09a"),
        packed(0x32, text("a") + b"\x01"),
        packed(0x30, b"\x00"),
        b"\x30\xff\xff\xff\xff\x01",
        packed(0x00, b""),
    ],
    ids=["QoS 2", "QoS 3", "topic ends early", "identifier ends early", "no topic", "length of five", "reserved"],
)
def test_what_no_broker_may_send_ends_the_connection_after_what_was_right(connection: Connection, wrong: bytes) -> None:
    connection.say(publish_packet("a", b"right", qos=0) + wrong + publish_packet("a", b"too late", qos=0))
    assert [payload for _, payload, _, _ in connection.delivered] == [b"right"]
    assert len(connection.lost) == 1


def test_what_is_gathered_leaves_when_the_network_takes_it(connection: Connection) -> None:
    payload = bytes(100_000)
    for _ in range(20):
        connection.client.gather("a/b", payload, retain=False)
    assert connection.heard() == b""
    found = b""
    while connection.client.gathered_bytes:
        connection.client.send_gathered()
        found += connection.heard()
    assert found + connection.heard() == b"".join([publish_packet("a/b", payload, qos=0)] * 20)


def test_a_connection_that_broke_while_sending_is_lost_once(connection: Connection) -> None:
    connection.server.close()
    connection.client.gather("a", b"x", retain=False)
    connection.client.send_gathered()
    assert len(connection.lost) == 1
    assert connection.client.gathered_bytes == 0


def test_a_goodbye_is_sent_before_the_socket_closes(connection: Connection) -> None:
    connection.client.disconnect()
    assert connection.heard() == b"\xe0\x00"
