"""amqtt's broker with the project's own hands at every connection: who is let in, and what goes where.

amqtt listens, keeps retained messages and speaks the wire format; `broker.embedded.connection` speaks with a client;
what is
decided is decided here. The overridden parts are private to amqtt, so its version is pinned and a test holds the pin.

Invariants:
- Nobody is let in without a credential, and only under a client id that is the credential's own
  (`Principal.may_be_called`). A CONNECT that is refused changes nothing for anybody.
- Every publish, every will, every subscription and every single delivery, retained ones too, is asked
  of `broker.access.policy.allowed` with the principal as it is in the directory at that moment. A question that fails
  is denied.
- A client id has one connection. The old one of a client that connects again is over, and its will published, before
  the new one is answered.
- Sessions are clean: nothing of a client outlives its connection but what it retained.
- A message is routed to those who were subscribed when it arrived, before it is acknowledged.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import lru_cache, partial

from amqtt.broker import Broker, RetainedApplicationMessage
from amqtt.mqtt.connack import IDENTIFIER_REJECTED, NOT_AUTHORIZED

from broker.access import policy
from broker.access.credentials import hash_secret, new_secret
from broker.access.policy import Principal, Role, Verb
from broker.access.principals import CredentialEntry, Directory
from broker.client.transport import Message
from broker.embedded.codec import ConnectRefused, Packet, is_filter
from broker.embedded.connection import Connection, ConnectionLimits, Credential
from broker.embedded.listener import Listener
from broker.embedded.send_queue import SendQueue
from broker.embedded.subscriptions import SubscriptionTree
from runtime.settings.broker import BrokerSettings

Allowed = Callable[[Principal, Verb, str], bool]

SUBSCRIPTION_REFUSED = 0x80
BACKLOG = 1024  # a fleet connects again all at once
GRANTED_QOS_MAX = 1  # the contract uses 0 and 1; QoS 2 is taken from publishers, and delivered as 1

log = logging.getLogger(__name__)

cached_allowed: Allowed = lru_cache(maxsize=1 << 16)(policy.allowed)
"""`broker.access.policy.allowed`, which is pure: the same few topics are asked for again and again."""

_NOBODY = CredentialEntry(Principal(Role.READER, "", ""), hash_secret(new_secret()))
"""Asked for an unknown user name, so that it takes as long to refuse as a known one."""


class BrokerCore(Broker):  # type: ignore[misc]  # amqtt is not typed
    """The embedded broker's inside. Made in a running event loop, with a socket that already listens."""

    def __init__(
        self,
        settings: BrokerSettings,
        directory: Directory,
        listener: socket.socket,
        allowed: Allowed,
        limits: ConnectionLimits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        address = f"{settings.bind}:{settings.port}"
        # An empty table of plugins: amqtt's own defaults would let anybody in.
        super().__init__({"listeners": {"default": {"type": "tcp", "bind": address}}, "plugins": {}})
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._directory = directory
        self._listener = listener
        self._allowed = allowed
        self._limits = limits
        self._tls = tls
        self._tasks: dict[Connection, asyncio.Task[None] | None] = {}
        self._clients: dict[str, Connection] = {}
        self._subscribers = SubscriptionTree[Connection]()
        self._stopping = False

    @property
    def clients(self) -> frozenset[str]:
        """The client ids that are connected."""
        return frozenset(self._clients)

    @property
    def connections(self) -> int:
        """How many sockets are open, those not let in (yet) included."""
        return len(self._tasks)

    def check(self, usernames: Collection[str]) -> None:
        """End the sessions of these principals whose credential is no longer good, or no longer means the same."""
        suspects = [connection for connection in self._clients.values() if connection.username in usernames]
        for connection in suspects:
            entry = self._directory.find(connection.username)
            if entry is None or connection.credential not in [(entry.principal, record) for record in entry.records]:
                self.count("revoked")
                log.info("%s is disconnected: its credential was changed or revoked", connection.username)
                connection.end("its credential was changed or revoked")

    async def stop(self) -> None:
        """Stop listening, end every connection without publishing wills that nobody would hear, and free the port."""
        self._stopping = True
        for server in self._servers.values():
            server.instance.close()
        tasks = [task for task in self._tasks.values() if task is not None]
        for connection in list(self._tasks):
            connection.end("the broker stops", publish_will=False)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shutdown()

    async def _create_server_instance(self, *_: object) -> Listener:
        """Serve on the socket that `EmbeddedBroker` opened, where a taken port has a better message."""
        return Listener(
            self._listener,
            self._serve,
            most=self._settings.max_connections,
            too_many=partial(self.count, "too_many_connections"),
            tls=self._tls,
            handshake_seconds=self._settings.connect_seconds,
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client, in place of amqtt's own session handling."""
        if self._stopping:
            writer.transport.abort()
            return
        with suppress(OSError):  # this client is gone again already
            _prepare(writer.get_extra_info("socket"))
        connection = Connection(self, reader, writer)
        self._tasks[connection] = asyncio.current_task()
        try:
            await connection.serve(
                max_packet_bytes=self._settings.max_packet_bytes, connect_seconds=self._settings.connect_seconds
            )
        finally:
            del self._tasks[connection]

    def admit(self, connection: Connection, connect: Packet) -> SendQueue:
        """Decide on a CONNECT; see `Hub`."""
        credential = self._authenticated(connect.username or "", connect.password or "")
        principal = credential[0]
        if not principal.may_be_called(connect.client_id):
            raise ConnectRefused(IDENTIFIER_REJECTED, f"the client id of {principal.username} is not its user name")
        if connect.will_flag and not self._may(principal.username, Verb.PUBLISH, connect.will_topic):
            raise ConnectRefused(NOT_AUTHORIZED, f"{principal.username} may not publish its will")
        if (old := self._clients.get(connect.client_id)) is not None:
            self.count("taken_over")
            old.end("it connected again")
        connection.username, connection.client_id = principal.username, connect.client_id
        connection.credential = credential
        self._clients[connect.client_id] = connection
        self.count("connects")
        trusted = principal.role is Role.INGESTOR
        max_bytes = self._limits.ingestor_queue_bytes if trusted else self._limits.queue_bytes
        return SendQueue(max_bytes=max_bytes, window=self._limits.window)

    def publish(self, username: str, message: Message) -> None:
        """Keep and route a message; see `Hub`."""
        if not self._may(username, Verb.PUBLISH, message.topic):
            self.count("publish_denied")
            return
        self.count("published")
        if message.retain:
            self._retain(message)
        for connection, granted_qos in self._subscribers.match(message.topic).items():
            self._deliver(connection, message, granted_qos, retain=False)

    def subscribe(self, connection: Connection, filters: Sequence[tuple[str, int]]) -> list[int]:
        """Subscribe to what is allowed, and send what is retained there; see `Hub`."""
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

    def count(self, what: str) -> None:
        """Add one to a counter; see `Hub`."""
        self.counters[what] += 1

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
        except Exception:  # whatever is wrong with the rules may neither allow anything nor stop the routing
            if not self.counters["check_failed"]:
                log.exception("whether %s may %s could not be decided, so it may not; told once", username, verb)
            self.count("check_failed")
            return False

    def _subscribe(self, connection: Connection, filter_: str, qos: int) -> int:
        full = len(connection.filters) >= self._limits.subscriptions and filter_ not in connection.filters
        if full or not is_filter(filter_) or not self._may(connection.username, Verb.SUBSCRIBE, filter_):
            self.count("subscribe_denied")
            return SUBSCRIPTION_REFUSED
        connection.filters.add(filter_)
        self._subscribers.add(filter_, connection, qos)
        for message in self._retained_at(filter_):
            self._deliver(connection, message, qos, retain=True)
        return qos

    def _retained_at(self, filter_: str) -> list[Message]:
        found: Sequence[RetainedApplicationMessage]
        if "+" in filter_ or "#" in filter_:
            found = [kept for topic, kept in self.retained_messages.items() if self._matches(topic, filter_)]
        else:  # each machine asks for a few topics of its own: not worth a look at everybody's
            found = [self.retained_messages[filter_]] if filter_ in self.retained_messages else []
        return [Message(kept.topic, kept.data, kept.qos) for kept in found]

    def _retain(self, message: Message) -> None:
        if message.payload:
            kept = RetainedApplicationMessage(None, message.topic, message.payload, message.qos)
            self.retained_messages[message.topic] = kept
        else:
            self.retained_messages.pop(message.topic, None)

    def _deliver(self, connection: Connection, message: Message, granted_qos: int, *, retain: bool) -> None:
        if not self._may(connection.username, Verb.RECEIVE, message.topic):
            self.count("receive_denied")
            return
        connection.send(Message(message.topic, message.payload, min(message.qos, granted_qos), retain))


def _prepare(client: socket.socket) -> None:
    """Set what asyncio does not on a socket that was accepted from one given to it."""
    # For a client that asked for no keep-alive: the kernel then notices that its machine is gone.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Else a small packet waits up to 40 ms for the acknowledgement of the one before.
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
