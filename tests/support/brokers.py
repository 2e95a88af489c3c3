"""The embedded broker for other tests, in a thread with an event loop of its own, and a client that speaks in bytes."""

import asyncio
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from servers import free_port, listens, require_program
from waiting import wait_until

from broker.access.policy import Principal
from broker.access.principals import Directory, MemoryDirectory
from broker.embedded.server import EmbeddedBroker
from broker.external.mosquitto_process import Mosquitto
from broker.external.nats_process import NatsFiles
from runtime.settings.address import ServerAddress
from runtime.settings.broker import BrokerSettings, MosquittoSettings, NatsSettings

PASSWORD = "made-up"

T = TypeVar("T")


class RunningBroker:
    """An embedded broker that runs until it is stopped. Its methods may be called from any thread."""

    def __init__(self, settings: BrokerSettings, directory: Directory, **options: Any) -> None:  # noqa: ANN401
        self.port = settings.port
        self.address = ServerAddress(host=settings.bind, port=settings.port, tls=False)
        self.directory = directory
        self.settings = settings
        self._options = {"refresh_seconds": 0.1, **options}
        self._thread: threading.Thread | None = None
        self.start()

    @property
    def counters(self) -> dict[str, int]:
        return dict(self.call(lambda: self.broker.counters))

    @property
    def clients(self) -> frozenset[str]:
        return self.call(lambda: self.broker.clients)

    @property
    def sockets(self) -> int:
        """How many connections there are, whether let in or not."""
        return self.call(lambda: self.broker.connections)

    def start(self) -> None:
        """Start (again), empty, on the same port. Raises BrokerError."""
        self._loop = asyncio.new_event_loop()
        self.broker = EmbeddedBroker(self.settings, self.directory, **self._options)
        try:
            self._loop.run_until_complete(self.broker.start())
        except BaseException:
            self._loop.close()
            raise
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, if it runs. A client sees a killed broker: MQTT 3.1.1 knows no goodbye, and no will is sent."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        asyncio.run_coroutine_threadsafe(self.broker.stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        thread.join(20)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def call(self, function: Callable[[], T]) -> T:
        """The result of a function that is run in the broker's event loop."""

        async def _call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(_call(), self._loop).result(20)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Meanwhile the broker does nothing at all, as a stopped process: its sockets stay open and nothing moves."""
        thaw, froze = threading.Event(), threading.Event()

        def freeze() -> None:
            froze.set()
            thaw.wait(60)

        self._loop.call_soon_threadsafe(freeze)
        froze.wait(20)
        try:
            yield
        finally:
            thaw.set()


@contextmanager
def embedded_broker(
    secrets: Mapping[Principal, str],
    *,
    port: int | None = None,
    directory: Directory | None = None,
    **settings: Any,  # noqa: ANN401
) -> Iterator[RunningBroker]:
    """An embedded broker on loopback that lets these principals in with these secrets.

    `settings` are fields of BrokerSettings, or options of EmbeddedBroker (allowed, limits, refresh_seconds, retained).
    """
    options = {
        name: settings.pop(name) for name in ("allowed", "limits", "refresh_seconds", "retained") if name in settings
    }
    fields = {"data": Path(), "database": "sqlite://", "port": port or free_port(), **settings}
    running = RunningBroker(BrokerSettings(**fields), directory or MemoryDirectory(secrets), **options)
    try:
        yield running
    finally:
        running.stop()


class RunningMosquitto:
    """A Mosquitto in step with a directory, in a thread that follows it as `dashfleet mosquitto` does."""

    def __init__(self, settings: MosquittoSettings, directory: Directory, *, follow_seconds: float = 0.1) -> None:
        self.port = settings.port
        self.settings = settings
        self.directory = directory
        self._follow_seconds = follow_seconds
        self._broker = Mosquitto(settings, directory)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="mosquitto", daemon=True)
        self._broker.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)
        self._broker.stop()

    def _follow(self) -> None:
        while not self._stopping.wait(self._follow_seconds):
            self._broker.step()


@contextmanager
def mosquitto_broker(
    directory: Directory,
    place: Path,
    *,
    follow_seconds: float = 0.1,
    **settings: Any,  # noqa: ANN401
) -> Iterator[RunningMosquitto]:
    """A Mosquitto on loopback that lets these principals in. `settings` are fields of MosquittoSettings."""
    program = require_program("mosquitto", "mosquitto")
    fields = {"data": place, "database": "sqlite://", "port": free_port(), "directory": place / "mosquitto"}
    running = RunningMosquitto(
        MosquittoSettings.model_validate({**fields, "program": program, **settings}),
        directory,
        follow_seconds=follow_seconds,
    )
    try:
        yield running
    finally:
        running.stop()


class RunningNats:
    """A NATS node in step with a directory. `kill` it and `start` it again."""

    def __init__(self, settings: NatsSettings, directory: Directory, *, follow_seconds: float = 0.1) -> None:
        self.port = settings.port
        self.settings = settings
        self.directory = directory
        self._program = require_program("nats-server", "nats-server")
        self._follow_seconds = follow_seconds
        self._files = NatsFiles(settings, directory)
        self._files.start()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="nats", daemon=True)
        self._thread.start()

    def start(self, *, wait: bool = True) -> None:
        with (self.settings.directory / "log").open("ab") as log:
            argv = [self._program, "-c", str(self.settings.directory / "nats.conf")]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        wait_until(lambda: listens(self.port), seconds=40, what="NATS listens")

    def wait_until_said(self, what: str) -> None:
        log = self.settings.directory / "log"
        wait_until(lambda: what.encode() in log.read_bytes(), seconds=40, what=f"NATS saying {what!r}")

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)
        self.kill()  # its data goes with the test

    def _follow(self) -> None:
        while not self._stopping.wait(self._follow_seconds):
            self._files.step()


@contextmanager
def nats_broker(directory: Directory, place: Path, **settings: Any) -> Iterator[RunningNats]:  # noqa: ANN401
    """A NATS of one node on loopback that lets these principals in. `settings` are fields of NatsSettings."""
    fields = {"data": place, "database": "sqlite://", "port": free_port(), "directory": place / "nats"}
    running = RunningNats(NatsSettings.model_validate({**fields, **settings}), directory)
    try:
        running.start()
        yield running
    finally:
        running.stop()


KINDS = ("embedded", "mosquitto")


@contextmanager
def broker_of_kind(
    kind: str,
    directory: Directory,
    place: Path,
    **settings: Any,  # noqa: ANN401
) -> Iterator[RunningBroker | RunningMosquitto | RunningNats]:
    """One of the brokers that this project runs, on loopback, with these principals."""
    if kind == "mosquitto":
        with mosquitto_broker(directory, place, **settings) as running:
            yield running
    elif kind == "nats":
        with nats_broker(directory, place, **settings) as node:
            yield node
    else:
        with embedded_broker({}, directory=directory, **settings) as embedded:
            yield embedded


class Gone(Exception):  # noqa: N818 - not an error
    """The broker ended the connection."""


@dataclass(frozen=True)
class Received:
    """A PUBLISH that came from the broker."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int


class RawClient:
    """An MQTT client that sends exactly the bytes it is told to, for what a well-behaved client would never send."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a second packet waits 40 ms
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self._buffer = b""
        self._waiting: list[Received] = []
        self._packet_id = 0

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except ConnectionError:
            raise Gone from None

    def packet(self) -> tuple[int, bytes]:
        """The next packet, as the first byte and the body. Raises Gone when the broker ended the connection."""
        first = self._take(1)[0]
        length, shift = 0, 0
        while True:
            digit = self._take(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, self._take(length)

    def reply(self, first: int) -> bytes:
        """The body of the next packet that is no PUBLISH, which must be of this type."""
        while True:
            found, body = self.packet()
            if found >> 4 != 3:
                assert found == first, f"expected packet {first:#x}, got {found:#x}"
                return body
            self._waiting.append(_received(found, body))

    def connect(self, username: str | None, password: str | None = PASSWORD, **fields: Any) -> int:  # noqa: ANN401
        """Send CONNECT; the return code of CONNACK. Fields: see `connect_packet`."""
        self.send(connect_packet(username, password, **fields))
        body = self.reply(0x20)
        assert body[0] == 0, "a session was present"
        return body[1]

    def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        """Send SUBSCRIBE; the return codes of SUBACK."""
        self.send(packed(0x82, b"\x00\x07" + b"".join(text(filter_) + bytes([qos]) for filter_ in filters)))
        return list(self.reply(0x90)[2:])

    def unsubscribe(self, *filters: str) -> None:
        """Send UNSUBSCRIBE and wait for UNSUBACK."""
        self.send(packed(0xA2, b"\x00\x08" + b"".join(map(text, filters))))
        assert self.reply(0xB0) == b"\x00\x08"

    def publish(self, topic: str, payload: bytes = b"x", *, qos: int = 1, retain: bool = False) -> None:
        """Send PUBLISH, and wait for PUBACK at QoS 1."""
        self._packet_id += 1
        self.send(publish_packet(topic, payload, qos=qos, retain=retain, packet_id=self._packet_id))
        if qos == 1:
            assert int.from_bytes(self.reply(0x40)) == self._packet_id

    def ping(self) -> None:
        """PINGREQ and PINGRESP: all that was sent before has been dealt with."""
        self.send(b"\xc0\x00")
        self.reply(0xD0)

    def message(self, *, acknowledge: bool = True) -> Received:
        """The next PUBLISH."""
        if self._waiting:
            received = self._waiting.pop(0)
        else:
            first, body = self.packet()
            assert first >> 4 == 3, f"expected a PUBLISH, got {first:#x}"
            received = _received(first, body)
        if received.qos and acknowledge:
            self.acknowledge(received)
        return received

    def acknowledge(self, received: Received) -> None:
        self.send(b"\x40\x02" + received.packet_id.to_bytes(2))

    def messages_until(self, payload: bytes) -> list[Received]:
        """What comes before a message with this payload, which is published last."""
        received = []
        while (message := self.message()).payload != payload:
            received.append(message)
        return received

    def nothing_waits(self) -> bool:
        """Whether no PUBLISH has been read that nobody took; ask for a reply first, or wait for the end."""
        return not self._waiting

    def is_gone(self) -> bool:
        """Wait until the broker ends the connection, reading what it sends; False when it does not."""
        try:
            while True:
                first, body = self.packet()
                if first >> 4 == 3:
                    self._waiting.append(_received(first, body))
        except Gone:
            return True
        except TimeoutError:
            return False

    def reset(self) -> None:
        """Close with a RST, as a process that died with unread data does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                raise Gone from None
            if not data:
                raise Gone
            self._buffer += data
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


def text(string: str | bytes) -> bytes:
    """A string as MQTT writes it: its length, then UTF-8 (or the bytes given)."""
    data = string.encode() if isinstance(string, str) else string
    return len(data).to_bytes(2) + data


def packed(first: int, body: bytes) -> bytes:
    """A whole packet."""
    length, digits = len(body), b""
    while True:
        length, digit = length >> 7, length & 0x7F
        digits += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([first]) + digits + body


def connect_packet(
    username: str | None,
    password: str | None = PASSWORD,
    *,
    client_id: str | None = None,
    keep_alive: int = 60,
    clean: bool = True,
    will: tuple[str, bytes, int, bool] | None = None,
    protocol: str = "MQTT",
    level: int = 4,
) -> bytes:
    """A CONNECT. `will` is topic, payload, QoS and retain; the client id is the user name unless given."""
    flags = 0x02 if clean else 0
    body = text(client_id if client_id is not None else username or "")
    if will is not None:
        topic, payload, qos, retain = will
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        body += text(topic) + text(payload)
    for flag, value in ((0x80, username), (0x40, password)):
        if value is not None:
            flags |= flag
            body += text(value)
    return packed(0x10, text(protocol) + bytes([level, flags]) + keep_alive.to_bytes(2) + body)


def publish_packet(
    topic: str | bytes, payload: bytes = b"x", *, qos: int = 1, retain: bool = False, packet_id: int = 1
) -> bytes:
    """A PUBLISH."""
    identifier = packet_id.to_bytes(2) if qos else b""
    return packed(0x30 | qos << 1 | retain, text(topic) + identifier + payload)


def _received(first: int, body: bytes) -> Received:
    end = 2 + int.from_bytes(body[:2])
    qos = first >> 1 & 3
    start = end + 2 if qos else end
    return Received(body[2:end].decode(), body[start:], qos, bool(first & 1), int.from_bytes(body[end:start]))
