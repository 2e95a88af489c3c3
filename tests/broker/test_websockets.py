"""MQTT over WebSockets: the same clients, rights, limits and TLS as over TCP."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from brokers import PASSWORD, RunningBroker, RunningMosquitto, broker_of_kind, connect_packet, embedded_broker
from certificates import certificates
from paho.mqtt.enums import CallbackAPIVersion
from servers import free_port
from waiting import wait_until
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection

from broker.access.policy import Principal, Role
from broker.access.principals import MemoryDirectory
from broker.embedded.server import BrokerError
from broker.embedded.websocket import MESSAGE_MAX_BYTES
from schemas.contract import topics

ATTIC = Principal(Role.MACHINE, "home", "attic")
READER = Principal(Role.READER, "home", "page")
STATUS = topics.STATUS.at(org="home", machine="attic")
SECRETS = {ATTIC: PASSWORD, READER: PASSWORD}
CONNACK = b"\x20\x02\x00\x00"


class Page:
    """A client of paho over WebSockets, as a page with mqtt.js would be."""

    def __init__(self, port: int, principal: Principal, password: str = PASSWORD, *, ca: Path | None = None) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self.granted: list[int] = []
        self.refused = ""
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=principal.username,
            transport="websockets",
            reconnect_on_failure=False,
        )
        self.client.username_pw_set(principal.username, password)
        if ca is not None:
            self.client.tls_set(str(ca))
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.on_subscribe = lambda _c, _d, _m, codes, _p: self.granted.extend(each.value for each in codes)
        self.client.on_connect = self._on_connect
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        wait_until(lambda: self.client.is_connected() or self.refused, seconds=30, what="an answer to CONNECT")

    def _on_connect(self, _c: object, _d: object, _f: object, reason: Any, _p: object) -> None:  # noqa: ANN401
        self.refused = str(reason) if reason.is_failure else ""

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def page(port: int, principal: Principal, *options: Any, **more: Any) -> Iterator[Page]:  # noqa: ANN401
    opened = Page(port, principal, *options, **more)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(params=("embedded", "mosquitto"), scope="module")
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port for WebSockets of a broker of each kind."""
    number, place = free_port(), tmp_path_factory.mktemp(request.param)
    with broker_of_kind(request.param, MemoryDirectory(SECRETS), place, websocket_port=number):
        yield number


@pytest.fixture(scope="module")
def embedded() -> Iterator[RunningBroker]:
    origins = ("https://fleet.example.org",)
    with embedded_broker(SECRETS, websocket_port=free_port(), websocket_origins=origins) as running:
        yield running


@pytest.fixture
def impatient() -> Iterator[RunningBroker]:
    with embedded_broker(SECRETS, websocket_port=free_port(), connect_seconds=0.3) as running:
        yield running


def test_a_page_sees_what_a_machine_publishes_and_may_do_what_its_role_may(port: int) -> None:
    with page(port, READER) as reader, page(port, ATTIC) as attic:
        reader.client.subscribe(topics.STATUS.filter(org="home"), 1)
        wait_until(lambda: reader.granted == [1], seconds=30, what="SUBACK")
        big = b"x" * 70_000  # more than one frame of the network
        attic.client.publish(STATUS, big, 1, retain=True).wait_for_publish(30)
        wait_until(lambda: reader.messages, seconds=30, what="the status")
        assert (reader.messages[0].topic, reader.messages[0].payload) == (STATUS, big)
        reader.client.publish(STATUS, b"mine", 1, retain=True).wait_for_publish(30)
        reader.client.subscribe(topics.STATUS.filter(org="other"), 1)
        attic.client.publish(STATUS, b"", 1, retain=True).wait_for_publish(30)
        wait_until(lambda: len(reader.messages) > 1, seconds=30, what="the status again")
        assert reader.messages[1].payload == b""


def test_a_wrong_secret_is_refused(port: int) -> None:
    with page(port, READER, "wrong") as reader:
        assert reader.refused in ("Not authorized", "Bad user name or password")


@pytest.mark.parametrize("kind", ["embedded", "mosquitto"])
def test_with_a_certificate_there_is_only_wss(kind: str, tmp_path: Path) -> None:
    made, number = certificates(tmp_path / "tls"), free_port()
    options = {"certificate": made.certificate, "private_key": made.key, "websocket_port": number}
    with broker_of_kind(kind, MemoryDirectory(SECRETS), tmp_path, **options):
        with page(number, READER, ca=made.authority) as reader:
            assert reader.client.is_connected()
        with pytest.raises((OSError, EOFError, ConnectionClosed, InvalidMessage)):
            raw(number)


def raw(port: int, *, path: str = "/mqtt", **options: Any) -> ClientConnection:  # noqa: ANN401
    given: dict[str, Any] = {"subprotocols": ["mqtt"], "open_timeout": 30, **options}
    return connect(f"ws://127.0.0.1:{port}{path}", **given)


def ws_port(broker: RunningBroker | RunningMosquitto) -> int:
    number = broker.settings.websocket_port
    assert number is not None
    return number


@pytest.mark.parametrize(
    ("origin", "permitted"),
    [
        (None, True),
        ("https://fleet.example.org", True),
        ("http://127.0.0.1:{port}", True),
        ("http://fleet.example.org", False),
        ("https://fleet.example.org.evil.example", False),
        ("http://127.0.0.1:1", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_web_page_connects_only_from_a_permitted_origin(
    embedded: RunningBroker, origin: str | None, permitted: bool
) -> None:
    port = ws_port(embedded)
    named = origin.format(port=port) if origin is not None else None
    headers = {} if named is None else {"Origin": named}
    if permitted:
        with raw(port, additional_headers=headers) as client:
            assert client.subprotocol == "mqtt"
    else:
        with pytest.raises(InvalidStatus) as refused:
            raw(port, additional_headers=headers)
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"path": "/"}, 404),
        ({"path": "/mqtt/../x"}, 404),
        ({"subprotocols": None}, 400),
        ({"subprotocols": ["soap"]}, 400),
    ],
)
def test_another_path_or_subprotocol_is_refused(embedded: RunningBroker, options: dict[str, Any], status: int) -> None:
    before = embedded.counters.get("websockets_refused", 0)
    with pytest.raises(InvalidStatus) as refused:
        raw(ws_port(embedded), **options)
    assert refused.value.response.status_code == status
    wait_until(lambda: embedded.counters.get("websockets_refused", 0) > before, seconds=30, what="the count")


def test_packets_may_be_divided_into_frames_and_frames_contain_several_packets(embedded: RunningBroker) -> None:
    packet = connect_packet(READER.username)
    with raw(ws_port(embedded)) as client:
        client.send([packet[i : i + 1] for i in range(len(packet))])  # a fragmented message
        assert client.recv(30) == CONNACK
        client.send(b"\xc0\x00\xc0\x00\xc0")
        client.send(b"\x00")
        answers = b""
        while len(answers) < 6:
            data = client.recv(30)
            assert isinstance(data, bytes)
            answers += data
        assert answers == b"\xd0\x00" * 3
        assert client.ping().wait(30)


@pytest.mark.parametrize("wrong", ["text", b"x" * (MESSAGE_MAX_BYTES + 1), b"\x00\x00", connect_packet("nobody")])
def test_what_is_not_mqtt_ends_the_connection(embedded: RunningBroker, wrong: str | bytes) -> None:
    with raw(ws_port(embedded)) as client:
        client.send(wrong)
        assert ends(client)


def test_a_client_that_does_not_finish_its_handshake_is_disconnected(impatient: RunningBroker) -> None:
    assert is_closed_after(ws_port(impatient), b"GET /mqtt HTTP/1.1\r\nHost: x\r\n")
    assert is_closed_after(ws_port(impatient), b"\x10\x00" * 50)


def test_a_client_that_does_not_send_connect_is_disconnected() -> None:
    with (
        embedded_broker(SECRETS, websocket_port=free_port(), connect_seconds=2.0) as broker,
        raw(ws_port(broker)) as client,
    ):
        assert ends(client)


def test_bytes_that_are_not_http_end_the_connection_and_no_other(embedded: RunningBroker) -> None:
    for garbage in (b"SSH-2.0-x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000, b"GET " + b"/" * 100_000):
        assert is_closed_after(ws_port(embedded), garbage)
    with raw(ws_port(embedded)) as client:
        client.send(connect_packet(READER.username))
        assert client.recv(30) == CONNACK


def ends(client: Connection) -> bool:
    """Read until the broker ends the connection."""
    try:
        while True:
            client.recv(60)
    except ConnectionClosed:
        return True


def is_closed_after(port: int, data: bytes) -> bool:
    """Send bytes that are no WebSocket, and read until the broker ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        try:
            client.sendall(data)
            while client.recv(1000):
                pass
        except ConnectionError:
            return True
    return True


def test_connections_of_both_kinds_count_together() -> None:
    with (
        embedded_broker(SECRETS, websocket_port=free_port(), max_connections=2) as broker,
        page(ws_port(broker), READER),
        page(ws_port(broker), ATTIC),
        pytest.raises((OSError, EOFError, ConnectionClosed, InvalidMessage)),
    ):
        raw(ws_port(broker))


def test_a_taken_port_is_named_and_frees_the_other() -> None:
    with embedded_broker(SECRETS) as other:
        port = free_port()
        with (
            pytest.raises(BrokerError, match="choose another with websocket_port"),
            embedded_broker(SECRETS, port=port, websocket_port=other.port),
        ):
            pass
        with embedded_broker(SECRETS, port=port):
            pass


def test_the_certificate_is_checked_by_a_client(tmp_path: Path) -> None:
    made = certificates(tmp_path / "tls")
    with (
        embedded_broker(
            SECRETS, certificate=made.certificate, private_key=made.key, websocket_port=free_port()
        ) as broker,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        connect(f"wss://127.0.0.1:{ws_port(broker)}/mqtt", subprotocols=["mqtt"], ssl=ssl.create_default_context())  # type: ignore[list-item]
