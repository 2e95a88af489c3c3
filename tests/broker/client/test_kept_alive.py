"""A connection while its caller is busy, as the ingestor in a long commit: it stays, and nothing is read meanwhile."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from brokers import embedded_broker
from servers import free_port
from waiting import wait_until

from broker.access.policy import Principal, Role
from broker.client.kept_alive import KeptAlive
from broker.client.mqtt import Mqtt
from broker.client.transport import Connected, Message, Transport
from runtime.settings.address import ServerAddress
from schemas.contract import topics

INGESTOR = Principal(Role.INGESTOR, "", "ingestor")
PASSWORD = "made-up"
KEEP_ALIVE_SECONDS = 1
PUBLISH = b"\x32\x06\x00\x01a\x00\x07x"
PUBACK = b"\x40\x02\x00\x07"
PINGREQ = b"\xc0\x00"


def mqtt(port: int) -> Mqtt:
    return Mqtt(
        ServerAddress(host="127.0.0.1", port=port, tls=False),
        username=INGESTOR.username,
        password=PASSWORD,
        subscriptions=[(topics.TELEMETRY.filter(), 1)],
        keep_alive_seconds=KEEP_ALIVE_SECONDS,
    )


def connect(transport: Transport) -> None:
    wait_until(lambda: any(isinstance(each, Connected) for each in transport.receive(10, 0.1)), what="connected")


@contextmanager
def kept(port: int) -> Iterator[KeptAlive]:
    transport = KeptAlive(mqtt(port), keep_alive_seconds=KEEP_ALIVE_SECONDS)
    try:
        connect(transport)
        yield transport
    finally:
        transport.close()


def test_a_caller_that_is_busy_for_longer_than_the_keep_alive_stays_connected() -> None:
    with embedded_broker({INGESTOR: PASSWORD}) as broker, kept(broker.port) as transport:
        busy_until = time.monotonic() + 4 * KEEP_ALIVE_SECONDS
        wait_until(lambda: time.monotonic() > busy_until, what="the end of the work")
        assert INGESTOR.username in broker.clients
        assert transport.connected
        assert transport.receive(10, 0) == []


def test_without_it_the_broker_ends_the_connection() -> None:
    with embedded_broker({INGESTOR: PASSWORD}) as broker:
        transport = mqtt(broker.port)
        connect(transport)
        wait_until(lambda: INGESTOR.username not in broker.clients, what="disconnected")
        transport.close()


@pytest.fixture
def server() -> Iterator[tuple[int, list[bytes]]]:
    """A broker that sends a message after the first ping, and what it has received after the SUBSCRIBE."""
    port, heard = free_port(), list[bytes]()
    listener = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"\x20\x02\x00\x00")
            subscribe = connection.recv(4096)
            connection.sendall(b"\x90\x03" + subscribe[2:4] + b"\x01")
            while data := connection.recv(4096):
                if not heard:
                    connection.sendall(PUBLISH)
                heard.append(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield port, heard
    thread.join(10)
    listener.close()


def test_nothing_is_read_or_acknowledged_before_the_caller_asks_for_it(server: tuple[int, list[bytes]]) -> None:
    port, heard = server
    with kept(port) as transport:
        wait_until(lambda: len(b"".join(heard)) >= 3 * len(PINGREQ), what="three pings")
        assert b"".join(heard).replace(PINGREQ, b"") == b"", "no PUBACK"
        messages = [each for each in transport.receive(10, 5.0) if isinstance(each, Message)]
        assert [(each.topic, each.payload) for each in messages] == [("a", b"x")]
        wait_until(lambda: PUBACK in b"".join(heard), what="the PUBACK")


def test_close_ends_the_thread() -> None:
    with embedded_broker({INGESTOR: PASSWORD}) as broker:
        before = set(threading.enumerate())
        with kept(broker.port):
            own = set(threading.enumerate()) - before
            assert own
        wait_until(lambda: not any(each.is_alive() for each in own), what="no thread left")
