"""Decisions of the embedded broker: who is admitted, and where each message goes.

amqtt decodes packets; `broker.embedded.connection` serves a client; everything else is decided here. Private members of
amqtt are overridden, so its version is pinned and a test fails when the pin moves.

Invariants:
- No client is admitted without a credential, and only with a client id that belongs to the credential
  (`Principal.may_be_called`). A rejected CONNECT changes nothing for other clients.
- Every publish, every will, every subscription and every delivery, retained ones included, is checked with
  `broker.access.policy.allowed` and the principal as the directory holds it at that moment. A question that fails is
  denied.
- A client id has one connection. When the client connects again the old connection has ended, and its will is
  published, before the new one is answered.
- Sessions are clean: nothing of a client outlives its connection except its retained messages.
- A message is retained only on topics that the contract retains.
- A message is routed to the clients that were subscribed when it arrived, before it is acknowledged.
- No loop over many clients or messages runs for long without giving the event loop back (`send_retained`).
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from amqtt.broker import Broker
from amqtt.mqtt.connack import IDENTIFIER_REJECTED, NOT_AUTHORIZED, SERVER_UNAVAILABLE

from broker.access import policy
from broker.access.credentials import hash_secret, new_secret
from broker.access.policy import Principal, Role, Verb
from broker.access.principals import CredentialEntry, Directory
from broker.client.transport import Message
from broker.embedded.byte_stream import ByteReader, ByteWriter
from broker.embedded.codec import ConnectRefused, Packet, is_filter
from broker.embedded.connection import SUBSCRIPTION_REFUSED, Admission, Connection, ConnectionLimits, Credential
from broker.embedded.listener import Listener
from broker.embedded.retained import RetainedMessages
from broker.embedded.send_queue import SendQueue
from broker.embedded.subscriptions import SubscriptionTree
from broker.embedded.websocket import open_websocket
from runtime.rate_limited_log import RateLimitedLog
from runtime.settings.broker import BrokerSettings
from schemas.contract import topics

Allowed = Callable[[Principal, Verb, str], bool]

BACKLOG = 1024  # a whole fleet reconnects at once
GRANTED_QOS_MAX = 1  # the contract uses 0 and 1; QoS 2 is accepted from publishers and delivered as 1
RETAINED_TURN = 50  # retained messages sent to one client before the others get their turn

log = logging.getLogger(__name__)

_OUR_OWN = frozenset((Role.INGESTOR, Role.DASHBOARD))
"""Roles of DashFleet's processes, which speak for many and have no rate limit."""

_GRANTED_MAX = 1 << 16


class GrantCache:
    """`broker.access.policy.allowed`, remembering what was granted.

    Only grants are remembered, never denials: a principal is granted a bounded set of topics, and could ask for any
    number of others.
    """

    def __init__(self) -> None:
        self._granted: set[tuple[Principal, Verb, str]] = set()

    def __call__(self, principal: Principal, verb: Verb, topic: str) -> bool:
        """Return True if `principal` may do `verb` on `topic`."""
        if len(topic) > topics.LENGTH_MAX:
            return False
        asked = (principal, verb, topic)
        if asked in self._granted:
            return True
        if not policy.allowed(principal, verb, topic):
            return False
        if len(self._granted) >= _GRANTED_MAX:
            self._granted.clear()
        self._granted.add(asked)
        return True


_NOBODY = CredentialEntry(Principal(Role.READER, "", ""), hash_secret(new_secret()))
"""Verified for an unknown user name, so that rejecting it takes as long as rejecting a known one."""


class BrokerCore(Broker):  # type: ignore[misc]  # amqtt is not typed
    """The broker behind `EmbeddedBroker`. Created in a running event loop, with a socket that already listens."""

    def __init__(
        self,
        settings: BrokerSettings,
        directory: Directory,
        listeners: Sequence[socket.socket],
        allowed: Allowed,
        limits: ConnectionLimits,
        retained: RetainedMessages,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        address = f"{settings.bind}:{settings.port}"
        # An empty table of plugins: the defaults of amqtt accept anonymous clients.
        super().__init__({"listeners": {"default": {"type": "tcp", "bind": address}}, "plugins": {}})
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._directory = directory
        self._listeners = listeners
        self._allowed = allowed
        self._limits = limits
        self._tls = tls
        self.retained = retained
        self._tasks: dict[Connection, asyncio.Task[None] | None] = {}
        self._clients: dict[str, Connection] = {}
        self._subscribers = SubscriptionTree[Connection]()
        self._sessions: Counter[str] = Counter()
        self._reported = RateLimitedLog(log)
        self._serving: Listener | None = None
        self._stopping = False

    @property
    def clients(self) -> frozenset[str]:
        """Client ids that are connected."""
        return frozenset(self._clients)

    @property
    def connections(self) -> int:
        """Number of open sockets, including clients not admitted (yet)."""
        return len(self._tasks)

    def check(self, usernames: Collection[str]) -> None:
        """End the sessions of principals whose credential changed; remove what revoked ones retained."""
        for username in usernames:
            if self._directory.find(username) is None and self.retained.forget(username):
                log.info("the retained messages of %s are removed: its credential was revoked", username)
        suspects = [connection for connection in self._clients.values() if connection.username in usernames]
        for connection in suspects:
            entry = self._directory.find(connection.username)
            if entry is None or connection.credential not in [(entry.principal, record) for record in entry.records]:
                self.count("revoked")
                log.info("%s is disconnected: its credential was changed or revoked", connection.username)
                connection.end("its credential was changed or revoked")

    async def stop(self) -> None:
        """Stop listening, end every connection without publishing wills, and free the port."""
        self._stopping = True
        for server in self._servers.values():
            server.instance.close()
        tasks = [task for task in self._tasks.values() if task is not None]
        for connection in list(self._tasks):
            connection.end("the broker stops", publish_will=False)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shutdown()

    async def _create_server_instance(self, *_: object) -> Listener:
        """Serve on the sockets that `EmbeddedBroker` opened: one for TCP and, if there is a second, for WebSockets."""
        plain, *websockets = self._listeners
        self._serving = Listener(
            {plain: None, **dict.fromkeys(websockets, self._open_websocket)},
            self._serve,
            most=self._settings.max_connections,
            too_many=partial(self.count, "too_many_connections"),
            tls=self._tls,
            handshake_seconds=self._settings.connect_seconds,
        )
        return self._serving

    async def _open_websocket(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[ByteReader, ByteWriter] | None:
        """Answer the handshake of a WebSocket."""
        origins, max_packet_bytes = self._settings.websocket_origins, self._settings.max_packet_bytes
        opened = await open_websocket(reader, writer, origins=origins, max_packet_bytes=max_packet_bytes)
        if opened is None:
            self.count("websockets_refused")
        return opened

    async def _serve(self, reader: ByteReader, writer: ByteWriter) -> None:
        """Serve one client, in place of amqtt's session handling."""
        if self._stopping:
            writer.transport.abort()
            return
        with suppress(OSError):  # this client is gone again already
            _prepare(writer.transport.get_extra_info("socket"))
        connection = Connection(self, reader, writer)
        self._tasks[connection] = asyncio.current_task()
        try:
            await connection.serve(
                max_packet_bytes=self._settings.max_packet_bytes, connect_seconds=self._settings.connect_seconds
            )
        finally:
            del self._tasks[connection]

    def admit(self, connection: Connection, connect: Packet) -> Admission:
        """Decide on a CONNECT; see `Hub`."""
        credential = self._authenticated(connect.username or "", connect.password or "")
        principal = credential[0]
        if not principal.may_be_called(connect.client_id):
            raise ConnectRefused(IDENTIFIER_REJECTED, f"the client id of {principal.username} is not its user name")
        is_token = principal.role is Role.ENROL
        if is_token and self._sessions[principal.username] >= self._limits.sessions_per_token:
            raise ConnectRefused(SERVER_UNAVAILABLE, f"{principal.username} has too many sessions at once")
        if (old := self._clients.get(connect.client_id)) is not None:
            self.count("taken_over")
            old.end("the client connected again")
        connection.username, connection.client_id = principal.username, connect.client_id
        connection.credential = credential
        self._clients[connect.client_id] = connection
        self._sessions[principal.username] += 1
        self.count("connects")
        if self._serving is not None and (task := self._tasks.get(connection)) is not None:
            self._serving.admitted(task)
        if is_token:
            asyncio.get_running_loop().call_later(
                self._limits.token_session_seconds, connection.end, "the session of an enrolment token is short"
            )
        return self._admission(principal, connect)

    def _admission(self, principal: Principal, connect: Packet) -> Admission:
        limits, own = self._limits, principal.role in _OUR_OWN
        max_bytes = limits.ingestor_queue_bytes if principal.role is Role.INGESTOR else limits.queue_bytes
        return Admission(
            queue=SendQueue(max_bytes=max_bytes, window=limits.window),
            max_filters=limits.subscriptions if own else limits.filters_per_packet,
            rate=None if own else limits.rate,
            will=self._will(principal.username, connect),
        )

    def _will(self, username: str, connect: Packet) -> Message | None:
        """Return the will of a client if it may publish it; without it the client is admitted all the same."""
        if not connect.will_flag:
            return None
        if not self._may(username, Verb.PUBLISH, connect.will_topic):
            self.count("will_denied")
            topic = connect.will_topic[: topics.LENGTH_MAX]
            self.report(f"will {username}", f"{username} is admitted without its will: it may not publish to {topic!r}")
            return None
        return Message(connect.will_topic, bytes(connect.will_message), connect.will_qos, connect.will_retain_flag)

    def publish(self, username: str, message: Message) -> None:
        """Route a message, and retain it where the contract does; see `Hub`."""
        if not self._may(username, Verb.PUBLISH, message.topic):
            self.count("publish_denied")
            topic = message.topic[: topics.LENGTH_MAX]
            self.report(f"publish {username}", f"{username} may not publish to {topic!r}: the message is dropped")
            return
        self.count("published")
        if message.retain:
            self._retain(username, message)
        for connection, granted_qos in self._subscribers.match(message.topic).items():
            self._deliver(connection, message, granted_qos, retain=False)

    def subscribe(self, connection: Connection, filters: Sequence[tuple[str, int]]) -> list[int]:
        """Subscribe to the allowed filters; see `Hub`."""
        return [self._subscribe(connection, filter_, min(qos, GRANTED_QOS_MAX)) for filter_, qos in filters]

    def unsubscribe(self, connection: Connection, filters: Sequence[str]) -> None:
        """End these subscriptions; see `Hub`."""
        for filter_ in filters:
            connection.filters.discard(filter_)
            self._subscribers.discard(filter_, connection)

    def forget(self, connection: Connection) -> None:
        """Route nothing more to this connection; see `Hub`."""
        self.unsubscribe(connection, list(connection.filters))
        self._clients.pop(connection.client_id, None)
        self._sessions[connection.username] -= 1
        if not self._sessions[connection.username]:
            del self._sessions[connection.username]

    def count(self, what: str) -> None:
        """Add one to a counter; see `Hub`."""
        self.counters[what] += 1

    def report(self, subject: str, message: str) -> None:
        """Log a warning at most once per subject and minute; see `Hub`."""
        self._reported.warning(subject, message)

    async def send_retained(self, connection: Connection, granted: Mapping[str, int]) -> None:
        """Send what is retained on these filters, each topic once with its highest QoS; see `Hub`."""
        sent: set[str] = set()
        for filter_, qos in sorted(granted.items(), key=lambda each: -each[1]):
            for topic in self.retained.topics(filter_):
                if topic in sent:
                    continue
                sent.add(topic)
                message = self.retained.get(topic)  # as it is now: it may have changed while others had their turn
                if message is not None:
                    self._deliver(connection, message, qos, retain=True)
                if len(sent) % RETAINED_TURN == 0:
                    await asyncio.sleep(0)
                if connection.ended:
                    return
            await asyncio.sleep(0)

    def _authenticated(self, username: str, secret: str) -> Credential:
        entry = self._directory.find(username)
        record = (entry or _NOBODY).record_of(secret)
        if entry is None or record is None:
            raise ConnectRefused(NOT_AUTHORIZED, "unknown user name or wrong secret")
        return entry.principal, record

    def _may(self, username: str, verb: Verb, topic: str) -> bool:
        entry = self._directory.find(username)
        if entry is None:
            return False
        try:
            return self._allowed(entry.principal, verb, topic)
        except Exception:  # a fault in the rules must neither allow anything nor stop the routing
            if not self.counters["check_failed"]:
                log.exception("the access check of %s (%s) failed and is denied; logged once", username, verb)
            self.count("check_failed")
            return False

    def _subscribe(self, connection: Connection, filter_: str, qos: int) -> int:
        full = len(connection.filters) >= self._limits.subscriptions and filter_ not in connection.filters
        if full or not is_filter(filter_) or not self._may(connection.username, Verb.SUBSCRIBE, filter_):
            self.count("subscribe_denied")
            return SUBSCRIPTION_REFUSED
        connection.filters.add(filter_)
        self._subscribers.add(filter_, connection, qos)
        return qos

    def _retain(self, username: str, message: Message) -> None:
        address = topics.parse(message.topic)
        is_bounded = address is not None and address.topic is topics.FACTS
        has_room = not is_bounded or self.retained.has_room(message.topic, username)
        if address is not None and address.topic.retain and has_room:
            self.retained.put(message, username)
        else:
            self.count("retain_ignored")

    def _deliver(self, connection: Connection, message: Message, granted_qos: int, *, retain: bool) -> None:
        if not self._may(connection.username, Verb.RECEIVE, message.topic):
            self.count("receive_denied")
            return
        connection.send(Message(message.topic, message.payload, min(message.qos, granted_qos), retain))


def _prepare(client: socket.socket) -> None:
    """Set the options that asyncio does not set on an accepted socket."""
    # For a client without keep-alive: the kernel then notices that its machine is gone.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Else a small packet waits up to 40 ms for the acknowledgement of the one before.
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
