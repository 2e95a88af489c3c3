"""Large messages: one call returns no more of them than fit into a bound of bytes, the rest waits in the socket."""

import socket
import threading
from collections.abc import Iterator

import pytest
from brokers import publish_packet
from servers import free_port

from broker.client.fast_client import READ_BYTES
from broker.client.mqtt import READ_MAX_BYTES, Mqtt
from broker.client.transport import Message
from runtime.settings.address import ServerAddress

SIZE, COUNT = 200_000, 100


@pytest.fixture
def port() -> Iterator[int]:
    """A broker that sends COUNT large messages to its client as fast as it reads them."""
    port = free_port()
    listener = socket.create_server(("127.0.0.1", port))
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"\x20\x02\x00\x00")
            packet = publish_packet("a", b"x" * SIZE, qos=0)
            for _ in range(COUNT):
                connection.sendall(packet)
            done.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    yield port
    done.set()
    thread.join(20)
    listener.close()


def test_large_messages_come_in_several_calls_and_all_of_them_come(port: int) -> None:
    transport = Mqtt(ServerAddress(host="127.0.0.1", port=port, tls=False), username="a", password="made-up")
    sizes: list[int] = []
    try:
        while sum(sizes) < SIZE * COUNT:
            events = transport.receive(10_000, 5.0)
            sizes.append(sum(len(event.payload) for event in events if isinstance(event, Message)))
    finally:
        transport.close()
    assert max(sizes) < READ_MAX_BYTES + READ_BYTES + SIZE
