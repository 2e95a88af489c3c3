"""The transport over a real broker, on top of paho.

paho serves as a codec and a socket, through its functions for an external loop: no thread, no queue, no reconnecting.
Each connection gets a new paho client, so that no state of an old connection remains.

Invariants (beside those of `broker.client.transport`):
- Only opening the socket (name resolution, TCP, TLS) happens in a thread, because it can take minutes on a bad network
  and the caller must go on sampling. Nothing touches the client until that thread has ended.
- The address decides about TLS: there is no fallback in either direction.
"""

import logging
import selectors
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

from broker.client.disconnect_reasons import CREDENTIALS_REJECTED, closed_in_handshake, failure, reason_text
from broker.client.fast_client import FastClient
from broker.client.sockets import disable_nagle, tls_context
from broker.client.subscriber import Subscriber
from broker.client.transport import Backoff, Connected, Disconnected, Event, Message, WillMaker, never_a_will
from runtime.settings.address import ServerAddress

HANDSHAKE_SECONDS = 20.0
CLOSE_SECONDS = 2.0
STEADY_SECONDS = 30.0
"""A connection that lasts this long resets the backoff."""

SEND_MAX = 1000
"""Maximum number of published and unacknowledged messages (QoS 1)."""

GATHERED_MAX_BYTES = 1 << 20
"""Maximum of buffered bytes; a sixteenth of it is sent at once."""

READ_MAX_BYTES = 4 << 20
"""Payloads read for one `receive`, exceeded by at most the last read and the message that it completes."""
_SLICE_SECONDS = 1.0
log = logging.getLogger(__name__)


class _State(Enum):
    IDLE = "waiting until the next attempt"
    OPENING = "a thread opens the socket"
    HANDSHAKE = "CONNECT and SUBSCRIBE are on their way"
    CONNECTED = "connected"
    CLOSED = "closed for good"


class Mqtt:
    """A Transport over MQTT 3.1.1. `subscriptions` are filters with their QoS, made again on every connect.

    `client_id` defaults to the user name (`broker.access.policy.Principal.may_be_called`).
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
        selector: selectors.BaseSelector | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._username = username
        self._password = password
        self._client_id = client_id or username
        self._subscriber = Subscriber(subscriptions, monotonic)
        self._will = will
        self._keep_alive_seconds = keep_alive_seconds
        self.tls = tls_context(ca_file) if address.tls else None
        """The TLS context, which knows the end of the broker's certificate; None without TLS."""
        self.backoff = backoff or Backoff()
        self._monotonic = monotonic
        self._state = _State.IDLE
        self._next_attempt = self._changed_at = monotonic()
        self._client: FastClient | None = None
        self._opener: threading.Thread | None = None
        self._opening_failed: str | None = None
        self._selector = selector or selectors.DefaultSelector()
        self._watched: Any = None
        self._events: list[Event] = []
        self._early: list[Message] = []
        self._unsent = self._read_bytes = 0

    @property
    def connected(self) -> bool:
        """Whether messages can be published now."""
        return self._state is _State.CONNECTED

    @property
    def socket(self) -> Any:  # noqa: ANN401 - a socket, with TLS or without
        """The socket, for a caller that waits for many at once; None without one, or while it opens."""
        return self._watched

    def receive(self, limit: int, wait: float) -> Sequence[Event]:
        """Return up to `limit` events; see `Transport`."""
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
        """Replace the subscriptions; see `Transport`."""
        removed = self._subscriber.replace(subscriptions)
        if self.connected and self._client is not None:
            if removed:
                self._client.unsubscribe(removed)
            self._subscriber.request(self._client)

    def reread(self, subscriptions: Sequence[tuple[str, int]]) -> None:
        """Request the retained messages that match; see `Transport`."""
        if self.connected and self._client is not None:
            self._subscriber.reread(self._client, subscriptions)

    def flush(self, seconds: float) -> bool:
        """Wait for the broker's acknowledgements; see `Transport`. Messages received meanwhile wait for `receive`."""
        deadline = self._monotonic() + seconds
        self._work_while(self._waits, deadline)
        return self.connected and not self._waits()

    def ping(self) -> None:
        """Send PINGREQ, if connected, and read nothing."""
        if self.connected and self._client is not None:
            self._client.ping()

    def _waits(self) -> bool:
        return self._unsent > 0 or bool(self._client and self._client.gathered_bytes)

    def close(self) -> None:
        """Disconnect cleanly; see `Transport`."""
        client, deadline = self._client, self._monotonic() + CLOSE_SECONDS
        if self.connected and client is not None:
            self._work_while(lambda: client.gathered_bytes > 0, deadline)
        if self.connected and client is not None:
            client.disconnect()
            self._work_while(lambda: True, deadline)
        self._state = _State.CLOSED
        if self._opener is not None:
            self._opener.join(1.0)
        self._drop_socket()
        self._selector.close()

    def _work_while(self, condition: Callable[[], bool], deadline: float) -> None:
        while self.connected and condition() and (left := deadline - self._monotonic()) > 0:
            self._work(SEND_MAX, min(0.1, left))

    def _work(self, limit: int, wait: float) -> None:
        match self._state:
            case _State.IDLE:
                self._wait_for_retry(wait)
            case _State.OPENING:
                self._wait_for_opener(wait)
            case _State.HANDSHAKE | _State.CONNECTED if self._client is not None:
                self._pump(self._client, limit, wait)
                if self._state is _State.HANDSHAKE and self._monotonic() - self._changed_at > HANDSHAKE_SECONDS:
                    self._lost("the broker did not answer")
            case _:
                time.sleep(wait)

    def _wait_for_retry(self, wait: float) -> None:
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
            self._opening_failed = failure(error, self._address)

    def _wait_for_opener(self, wait: float) -> None:
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
        if self.connected and self._subscriber.is_due:
            self._subscriber.request(client)
        sock = client.socket()
        if sock is None:
            self._lost("the connection closed")
            return
        self._write(client)
        if client.socket() is not sock:  # writing failed, the connection has ended
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
        self._read_bytes = 0
        while len(self._events) < limit and self._read_bytes < READ_MAX_BYTES:
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
        if self.tls is not None:
            client.tls_set_context(self.tls)
        will = self._will()
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.max_queued_messages_set(SEND_MAX)
        client.on_socket_open = disable_nagle
        client.on_socket_close = lambda _client, _userdata, sock: self._unwatch(sock)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_disconnect = lambda _client, _userdata, _flags, reason, _properties: self._lost(reason_text(reason))
        return client

    def _on_connect(
        self, client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self._lost(reason_text(reason), refused=str(reason) in CREDENTIALS_REJECTED)
        elif not self._subscriber.request(client):
            self._established(())

    def _on_subscribe(
        self, client: paho.Client, _userdata: object, mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        rejected = self._subscriber.handle_suback(client, mid, reasons)
        if rejected is None:
            return
        if self.connected:
            if rejected:
                log.error("the broker rejected these subscriptions, retrying: %s", ", ".join(rejected))
        elif self._subscriber.is_current or not self._subscriber.request(client):  # otherwise they changed meanwhile
            self._established(rejected)

    def _established(self, refused: tuple[str, ...]) -> None:
        self._enter(_State.CONNECTED)
        self._events.append(Connected(refused))
        self._events.extend(self._early)
        self._early = []

    def _deliver(self, topic: bytes, payload: bytes, qos: int, retain: bool) -> None:
        self._read_bytes += len(payload)
        queue = self._events if self._state is _State.CONNECTED else self._early
        try:
            queue.append(Message(topic.decode(), payload, qos, retain))
        except UnicodeDecodeError:  # some brokers deliver topics that are not UTF-8
            log.warning("dropped a message whose topic is not UTF-8")

    def _on_publish(
        self, _client: paho.Client, _userdata: object, _mid: int, _reason: ReasonCode, _properties: object
    ) -> None:
        self._unsent -= 1

    def _unwatch(self, sock: Any) -> None:  # noqa: ANN401 - paho's
        if sock is not None and sock is self._watched:
            self._selector.unregister(sock)
            self._watched = None

    def _lost(self, reason: str, *, refused: bool = False) -> None:
        if self._state in (_State.IDLE, _State.CLOSED):
            return
        if self._state is _State.CONNECTED and self._monotonic() - self._changed_at >= STEADY_SECONDS:
            self.backoff.reset()
        if self._state is _State.HANDSHAKE and not refused:
            reason = closed_in_handshake(reason, self._address)
        self._enter(_State.IDLE)
        self._next_attempt = self._monotonic() + self.backoff.next()
        self._events.append(Disconnected(reason, refused))
        self._drop_socket()

    def _drop_socket(self) -> None:
        client, self._client, self._unsent = self._client, None, 0
        sock = client.socket() if client is not None and self._opener is None else None
        if sock is None:
            return
        self._unwatch(sock)
        sock.close()

    def _enter(self, state: _State) -> None:
        log.debug("%s: %s", self._username, state.value)
        self._state, self._changed_at = state, self._monotonic()
