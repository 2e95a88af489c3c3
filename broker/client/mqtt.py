"""The transport over a real broker. Only this file and `broker.client.fast_client` import paho.

paho is used as a codec and a socket, through its calls for an external loop: no thread of its own, no queue for later,
no reconnecting. Each connection gets a new paho client, so nothing of an old one can leak into it.

Invariants (beside those of `broker.client.transport`):
- Only opening the socket (name look-up, TCP, TLS) happens in a thread, because it can take minutes on a bad network and
  the caller must go on sampling. Nothing touches the client until that thread has ended.
- TLS is what the address says: never tried, never dropped.
"""

import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.client.fast_client import FastClient
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, WillMaker, never_a_will
from runtime.settings.address import ServerAddress

HANDSHAKE_SECONDS = 20.0
STEADY_SECONDS = 30.0
"""A connection that lasted so long forgets the failures before it."""

ASK_AGAIN_SECONDS = 5.0
"""After a subscription was refused: a cluster refuses what it could grant while it elects a leader."""

SEND_MAX = 1000
"""Messages handed over and not yet acknowledged (QoS 1), at most."""

GATHERED_MAX_BYTES = 1 << 20
"""Not yet sent, at most; from a part of it on it is sent at once."""

_SLICE_SECONDS = 1.0
_CREDENTIALS_REFUSED = frozenset(("Bad user name or password", "Not authorized", "Client identifier not valid"))
_IN_WORDS = {
    "Success": "the connection was closed",
    "Unspecified error": "the broker closed the connection, or the network lost it",
    "Keep alive timeout": "the broker did not answer for too long",
    "Protocol error": "the broker said something that is not MQTT 3.1.1",
    "Bad user name or password": "it does not know this name with this secret",
    "Not authorized": "it does not let this name in",
    "Client identifier not valid": "it does not take this client id",
    "Server unavailable": "it takes no connections now",
}
"""What paho says of the end of a connection, or of one that was not made, for people."""

log = logging.getLogger(__name__)


class _State(Enum):
    IDLE = "waiting until the next attempt"
    OPENING = "a thread opens the socket"
    HANDSHAKE = "CONNECT and SUBSCRIBE are on their way"
    CONNECTED = "connected"
    CLOSED = "closed for good"


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when its handshake fails, which paho leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    return context


class Mqtt:
    """A Transport over MQTT 3.1.1. `subscriptions` are filters with their QoS, made anew on every connect.

    `client_id` is the user name unless given (`broker.access.policy.Principal.may_be_called`).
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        username: str,
        password: str,
        client_id: str | None = None,
        subscriptions: Sequence[tuple[str, int]] = (),
        will: WillMaker = never_a_will,
        keep_alive_seconds: int = 30,
        ca_file: Path | None = None,
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._username = username
        self._password = password
        self._client_id = client_id or username
        self._subscriptions = list(subscriptions)
        self._made: list[tuple[str, int]] = []
        self._asked: list[tuple[str, int]] = []
        self._asking: int | None = None
        self._ask_at: float | None = None
        self._will = will
        self._keep_alive_seconds = keep_alive_seconds
        self._tls = _tls(ca_file) if address.tls else None
        self.backoff = backoff or Backoff()
        self._monotonic = monotonic
        self._state = _State.IDLE
        self._next_attempt = monotonic()
        self._changed_at = monotonic()
        self._client: FastClient | None = None
        self._opener: threading.Thread | None = None
        self._opening_failed: str | None = None
        self._selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._watched: Any = None
        self._events: list[Event] = []
        self._early: list[Message] = []
        self._unsent = 0

    @property
    def connected(self) -> bool:
        """Whether messages can be published now."""
        return self._state is _State.CONNECTED

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        """What happened, up to `limit` events; see `Transport`."""
        deadline = self._monotonic() + wait
        while True:
            self._work(limit, 0.0 if self._events else max(0.0, min(deadline - self._monotonic(), _SLICE_SECONDS)))
            if self._events or self._monotonic() >= deadline:
                taken, self._events = self._events[:limit], self._events[limit:]
                return taken

    def publish(self, message: Message) -> bool:
        """Hand a message to the network; see `Transport`."""
        client = self._client
        if not self.connected or client is None or client.gathered_bytes >= GATHERED_MAX_BYTES:
            return False
        if message.qos == 0:
            client.gather(message.topic, message.payload, retain=message.retain)
        elif self._unsent >= SEND_MAX:
            return False
        else:
            self._unsent += 1
            client.publish(message.topic, message.payload, message.qos, message.retain)
        if message.qos or client.gathered_bytes >= GATHERED_MAX_BYTES // 16:
            client.send_gathered()
        return self.connected

    def subscribe(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Have other subscriptions from now on; see `Transport`."""
        wanted = {filter_ for filter_, _ in subscriptions}
        gone = [filter_ for filter_, _ in self._subscriptions if filter_ not in wanted]
        self._subscriptions = list(subscriptions)
        if self.connected and self._client is not None:
            if gone:
                self._client.unsubscribe(gone)
            self._ask(self._client)

    def flush(self, seconds: float) -> bool:
        """Wait for the broker's acknowledgements; see `Transport`. What arrives meanwhile is kept for `receive`."""
        deadline = self._monotonic() + seconds
        while self._waits() and self.connected and self._monotonic() < deadline:
            self._work(SEND_MAX, min(0.1, max(0.0, deadline - self._monotonic())))
        return self.connected and not self._waits()

    def _waits(self) -> bool:
        """Whether something that was handed over has not gone, or has not been acknowledged."""
        return self._unsent > 0 or (self._client is not None and self._client.gathered_bytes > 0)

    def close(self) -> None:
        """Disconnect cleanly; see `Transport`."""
        if self._state is _State.CONNECTED and self._client is not None:
            deadline = self._monotonic() + 2.0
            while self.connected and self._client.gathered_bytes and self._monotonic() < deadline:
                self._work(SEND_MAX, 0.1)
        if self._state is _State.CONNECTED and self._client is not None:
            self._client.disconnect()
            while self.connected and self._monotonic() < deadline:
                self._work(SEND_MAX, 0.1)
        self._state = _State.CLOSED
        if self._opener is not None:
            self._opener.join(1.0)
        self._drop_socket()
        self._selector.close()

    def _work(self, limit: int, wait: float) -> None:
        """Do the next piece of work that the state asks for, waiting at most `wait` seconds for the network."""
        match self._state:
            case _State.IDLE:
                self._wait_for_the_next_attempt(wait)
            case _State.OPENING:
                self._wait_for_the_opener(wait)
            case _State.HANDSHAKE | _State.CONNECTED if self._client is not None:
                self._pump(self._client, limit, wait)
                if self._state is _State.HANDSHAKE and self._monotonic() - self._changed_at > HANDSHAKE_SECONDS:
                    self._lost("the broker did not answer")
            case _:
                time.sleep(wait)

    def _wait_for_the_next_attempt(self, wait: float) -> None:
        pause = self._next_attempt - self._monotonic()
        if pause > 0:
            time.sleep(min(pause, wait))
        else:
            self._open()

    def _open(self) -> None:
        client = self._new_client()
        self._client, self._opening_failed, self._early, self._unsent = client, None, [], 0
        self._enter(_State.OPENING)
        self._opener = threading.Thread(target=self._open_socket, args=(client,), name="mqtt-opener", daemon=True)
        self._opener.start()

    def _open_socket(self, client: FastClient) -> None:
        try:
            client.connect(self._address.host, self._address.port, self._keep_alive_seconds)
        except (OSError, ValueError) as error:  # ValueError: an address that paho refuses
            self._opening_failed = self._in_words(error)

    def _in_words(self, error: Exception) -> str:
        if isinstance(error, ConnectionRefusedError):
            return f"nothing answers at {self._address.host}:{self._address.port}"
        if isinstance(error, TimeoutError):
            return f"{self._address.host}:{self._address.port} did not answer in time"
        if isinstance(error, ConnectionResetError):
            return _IN_WORDS["Unspecified error"]
        return str(error) or type(error).__name__

    def _wait_for_the_opener(self, wait: float) -> None:
        if self._opener is not None:
            self._opener.join(wait)
            if self._opener.is_alive():
                return
            self._opener = None
        opened = self._client.socket() if self._client is not None else None
        if self._opening_failed is not None or opened is None:
            self._lost(self._opening_failed or "the connection closed at once")
            return
        self._watched = opened
        self._selector.register(self._watched, selectors.EVENT_READ)
        self._enter(_State.HANDSHAKE)

    def _pump(self, client: FastClient, limit: int, wait: float) -> None:
        """Read and write what the socket allows, until `limit` events wait or nothing more arrives."""
        if self.connected and self._ask_at is not None and self._monotonic() >= self._ask_at:
            self._ask(client)
        sock = client.socket()
        if sock is None:
            self._lost("the connection closed")
            return
        self._write(client)
        if client.socket() is not sock:  # writing found that it is over
            return
        reading_writing = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.gathered_bytes else 0)
        if self._selector.get_key(sock).events != reading_writing:
            self._selector.modify(sock, reading_writing)
        buffered = isinstance(sock, ssl.SSLSocket) and sock.pending()
        ready = self._selector.select(0 if buffered else wait)
        if buffered or any(mask & selectors.EVENT_READ for _, mask in ready):
            self._read(client, limit)
        self._write(client)
        client.loop_misc()

    def _write(self, client: FastClient) -> None:
        if client.want_write():
            client.loop_write()
        client.send_gathered()

    def _read(self, client: FastClient, limit: int) -> None:
        while len(self._events) < limit:
            before = len(self._events) + len(self._early)
            client.loop_read()
            if len(self._events) + len(self._early) == before:
                return

    def _new_client(self) -> FastClient:
        client = FastClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=True,
            reconnect_on_failure=False,
            deliver=self._deliver,
        )
        client.username_pw_set(self._username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        will = self._will()
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.max_queued_messages_set(SEND_MAX)
        client.on_socket_open = _send_small_packets_at_once
        client.on_socket_close = self._on_socket_close
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        return client

    def _on_connect(
        self, client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._lost(_in_words(reason), refused=str(reason) in _CREDENTIALS_REFUSED)
        elif not self._ask(client):
            self._established(())

    def _ask(self, client: paho.Client) -> bool:
        """Ask for the subscriptions. False when there are none."""
        self._made, self._ask_at = self._subscriptions, None
        return self._ask_for(client, self._subscriptions)

    def _ask_for(self, client: paho.Client, wanted: Sequence[tuple[str, int]]) -> bool:
        self._asked = list(wanted)
        _, self._asking = client.subscribe(self._asked) if wanted else (None, None)
        return bool(wanted)

    def _on_subscribe(
        self, client: paho.Client, _userdata: object, mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        if mid != self._asking:  # an answer to what was asked before the subscriptions changed
            return
        refused = [wanted for wanted, reason in zip(self._asked, reasons, strict=False) if reason.is_failure]
        if any(qos for _, qos in refused):  # a cluster that has lost a node may grant 0 and refuse 1
            self._ask_for(client, [(filter_, 0) for filter_, _ in refused])
            return
        self._ask_at = self._monotonic() + ASK_AGAIN_SECONDS if refused else None
        topics = tuple(filter_ for filter_, _ in refused)
        if self._state is _State.CONNECTED:
            if topics:
                log.error("the broker refused these subscriptions, it is asked again: %s", ", ".join(topics))
        elif self._made is self._subscriptions or not self._ask(client):  # else they were changed meanwhile
            self._established(topics)

    def _established(self, refused: tuple[str, ...]) -> None:
        self._enter(_State.CONNECTED)
        self._events.append(Connected(refused))
        self._events.extend(self._early)
        self._early = []

    def _deliver(self, topic: bytes, payload: bytes, qos: int, retain: bool) -> None:
        queue = self._events if self._state is _State.CONNECTED else self._early
        try:
            queue.append(Message(topic.decode(), payload, qos, retain))
        except UnicodeDecodeError:  # some brokers let a topic pass that is not UTF-8
            log.warning("a message on a topic that is not UTF-8 was dropped")

    def _on_publish(
        self, _client: paho.Client, _userdata: object, _mid: int, _reason: ReasonCode, _properties: object
    ) -> None:
        self._unsent -= 1

    def _on_disconnect(
        self, _client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        self._lost(_in_words(reason))

    def _on_socket_close(self, _client: paho.Client, _userdata: object, sock: Any) -> None:  # noqa: ANN401 - paho's
        self._unwatch(sock)

    def _unwatch(self, sock: Any) -> None:  # noqa: ANN401 - paho's
        if sock is not None and sock is self._watched:
            self._selector.unregister(sock)
            self._watched = None

    def _lost(self, reason: str, *, refused: bool = False) -> None:
        """Record the end of an attempt or a connection, once, and set the time of the next attempt."""
        if self._state in (_State.IDLE, _State.CLOSED):
            return
        if self._state is _State.CONNECTED and self._monotonic() - self._changed_at >= STEADY_SECONDS:
            self.backoff.reset()
        self._enter(_State.IDLE)
        self._next_attempt = self._monotonic() + self.backoff.next()
        self._events.append(Disconnected(reason, refused))
        self._drop_socket()

    def _drop_socket(self) -> None:
        """Close the socket of a connection that is over, and forget its client."""
        client, self._client, self._unsent = self._client, None, 0
        sock = client.socket() if client is not None and self._opener is None else None
        if sock is None:
            return
        self._unwatch(sock)
        sock.close()

    def _enter(self, state: _State) -> None:
        log.debug("%s: %s", self._username, state.value)
        self._state, self._changed_at = state, self._monotonic()


def _in_words(reason: ReasonCode) -> str:
    return _IN_WORDS.get(str(reason), str(reason))


def _send_small_packets_at_once(_client: paho.Client, _userdata: object, sock: Any) -> None:  # noqa: ANN401 - paho's
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
