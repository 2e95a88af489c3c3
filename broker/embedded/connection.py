"""A client of the embedded broker, from its CONNECT to its end.

Invariants:
- Until its CONNECT is accepted a client has no name, no session and no effect on any other client.
- A connection ends once, whatever the cause and however many causes there are: `end` takes effect at once, so that the
  will is published before anything that follows, and no packet read earlier is handled afterwards.
- A will is published unless the client sent DISCONNECT or the broker stops; access is checked at that moment.
- Silence for 1.5 times the keep-alive ends a connection; so does a CONNECT that is not complete in time. Only whole
  packets count.
- A client that sends faster than its rate is not read from for a moment; it never costs the other clients their turn.
"""

import asyncio
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from amqtt.mqtt import packet as kinds
from amqtt.mqtt.connack import CONNECTION_ACCEPTED, ConnackPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.pubcomp import PubcompPacket
from amqtt.mqtt.pubrec import PubrecPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.unsuback import UnsubackPacket

from broker.access.policy import Principal
from broker.client.transport import Message
from broker.embedded.byte_stream import ByteReader, ByteWriter
from broker.embedded.codec import ConnectRefused, Packet, ProtocolViolation, is_topic, read_connect, read_packet
from broker.embedded.rate_budget import ClientRate, RateBudget
from broker.embedded.send_queue import SendQueue

_PATIENCE = 1.5  # keep-alives [MQTT-3.1.2-24]
_TURN = 64  # packets of one client before the others get their turn
_LOST = "the connection was lost"

SUBSCRIPTION_REFUSED = 0x80

F = TypeVar("F")

Credential = tuple[Principal, str]
"""A principal, and the stored record of the secret that it presented."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of one client. `rate`: None for no rate limit."""

    queue_bytes: int = 16 << 20
    ingestor_queue_bytes: int = 256 << 20  # each machine may have one batch on its way to it
    window: int = 2048  # QoS 1 messages sent and not acknowledged
    subscriptions: int = 4096
    filters_per_packet: int = 100
    rate: ClientRate | None = None
    sessions_per_token: int = 50
    token_session_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Admission:
    """Resources of an accepted client."""

    queue: SendQueue
    max_filters: int
    rate: ClientRate | None
    will: Message | None
    """The will that may be published; None when the client has none or may not publish it."""


class Hub(Protocol):
    """The broker, as a connection uses it."""

    def admit(self, connection: "Connection", connect: Packet) -> Admission:
        """Decide on a CONNECT and make this the client's only connection.

        Raises ConnectRefused, having changed nothing.
        """
        ...

    def publish(self, username: str, message: Message) -> None:
        """Route a message to all clients that may receive it, if this client may publish it."""
        ...

    def subscribe(self, connection: "Connection", filters: Sequence[tuple[str, int]]) -> list[int]:
        """Subscribe to the allowed filters; return the return codes of SUBACK."""
        ...

    async def send_retained(self, connection: "Connection", granted: Mapping[str, int]) -> None:
        """Send each retained message that these filters match once, letting other clients have their turn."""
        ...

    def unsubscribe(self, connection: "Connection", filters: Sequence[str]) -> None:
        """End these subscriptions."""
        ...

    def forget(self, connection: "Connection") -> None:
        """Route nothing more to this connection, which has ended."""
        ...

    def count(self, what: str) -> None:
        """Add one to a counter."""
        ...

    def report(self, subject: str, message: str) -> None:
        """Log a warning, at most one per subject and minute."""
        ...


class Connection:
    """An accepted socket. `username` and `client_id` are empty until its CONNECT is accepted."""

    def __init__(self, hub: Hub, reader: ByteReader, writer: ByteWriter) -> None:
        self.username = ""
        self.client_id = ""
        self.credential: Credential | None = None
        """The credential it was accepted with."""
        self.filters: set[str] = set()
        self._hub = hub
        self._reader = reader
        self._writer = writer
        self._outgoing: SendQueue | None = None
        self._will: Message | None = None
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._patience = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._unreleased: set[int] = set()
        self._budget: RateBudget | None = None
        self._max_filters = 0
        self._granted: dict[str, int] = {}

    @property
    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self._ended

    async def serve(self, *, max_packet_bytes: int, connect_seconds: float) -> None:
        """Serve the client until either side ends the connection."""
        try:
            connect = await self._read_connect(max_packet_bytes, connect_seconds)
            if self._ended:
                return
            admission = self._hub.admit(self, connect)
            self._begin(connect, admission)
            await self._handle_packets(admission.queue, max_packet_bytes)
        except ConnectRefused as refusal:
            self._refuse(refusal)
        except ProtocolViolation as violation:
            self._hub.count("violations")
            if self.username:
                subject = f"{self.username} violated the protocol"
                self._hub.report(subject, f"{subject} and is disconnected: {violation}")
            self.end(f"protocol violation: {violation}")
        except (EOFError, OSError):
            self.end(_LOST)
        finally:
            self.end("it failed")

    def send(self, message: Message) -> None:
        """Queue a message. A client whose queue overflows is disconnected in a moment."""
        if self._outgoing is not None:
            self._outgoing.deliver(message)
            self._cut_if_overflowing(self._outgoing)

    def end(self, reason: str, *, publish_will: bool = True) -> None:
        """End the connection now. Only the first call has an effect."""
        if self._ended:
            return
        self._ended = True
        self._outgoing = None
        if self._timer is not None:
            self._timer.cancel()
        self._writer.transport.abort()
        if self.username:
            log.debug("the connection of %s ended: %s", self.username, reason)
            self._hub.forget(self)
            if publish_will and self._will is not None:
                self._hub.publish(self.username, self._will)

    async def _read_connect(self, max_packet_bytes: int, seconds: float) -> Packet:
        try:
            async with asyncio.timeout(seconds):
                return await read_connect(self._reader, max_packet_bytes)
        except TimeoutError:
            raise ProtocolViolation("CONNECT was not complete in time") from None

    def _begin(self, connect: Packet, admission: Admission) -> None:
        self._outgoing, self._will, self._max_filters = admission.queue, admission.will, admission.max_filters
        if admission.rate is not None:
            self._budget = RateBudget(admission.rate, self._loop.time())
        self._reply(ConnackPacket.build(0, CONNECTION_ACCEPTED))
        self._heard = self._loop.time()
        self._patience = connect.keep_alive * _PATIENCE
        if self._patience:
            self._watch()

    def _watch(self) -> None:
        """End the connection when its keep-alive has expired; otherwise check again when it could have."""
        silent = self._loop.time() - self._heard
        if silent >= self._patience:
            self._hub.count("silent")
            self.end("its keep-alive expired")
        else:
            self._timer = self._loop.call_later(self._patience - silent, self._watch)

    def _refuse(self, refusal: ConnectRefused) -> None:
        self._hub.count("refused")
        log.debug("a connection was refused: %s", refusal)
        self._ended = True
        self._writer.write(refusal.connack)
        self._writer.close()

    async def _handle_packets(self, outgoing: SendQueue, max_packet_bytes: int) -> None:
        sender = asyncio.create_task(outgoing.send(self._writer))
        try:
            for turn in itertools.count(1):
                packet = await read_packet(self._reader, max_packet_bytes, max_filters=self._max_filters)
                if self._ended:
                    return
                self._heard = self._loop.time()
                is_answer = self._handle(packet)
                if packet.fixed_header.packet_type == kinds.SUBSCRIBE:
                    await self._send_retained()
                if not is_answer and (pause := self._pause(packet)):
                    await asyncio.sleep(pause)
                    self._heard = self._loop.time()  # what it sent meanwhile has not been read yet
                elif turn % _TURN == 0:
                    await asyncio.sleep(0)
        finally:
            sender.cancel()
            await asyncio.wait((sender,))

    def _pause(self, packet: Packet) -> float:
        """Charge a packet to the budget; return the seconds for which nothing more is read."""
        if self._budget is None:
            return 0.0
        pause = self._budget.spend(packet.fixed_header.remaining_length, self._loop.time())
        if pause:
            self._hub.count("throttled")
            subject = f"{self.username} exceeds its rate limit"
            self._hub.report(subject, f"{subject} and is slowed down")
        return pause

    async def _send_retained(self) -> None:
        granted, self._granted = self._granted, {}
        await self._hub.send_retained(self, granted)

    def _handle(self, packet: Packet) -> bool:
        """Handle a packet; return whether it only acknowledges a message, which the client did not ask to be sent.

        Those cost no budget: a reader that connects is sent everything that is retained at once.
        """
        match packet.fixed_header.packet_type:
            case kinds.PUBLISH:
                self._handle_publish(packet)
            case kinds.PUBACK:
                return self._outgoing is not None and self._outgoing.acknowledged(_packet_id(packet))
            case kinds.PUBREL:
                self._unreleased.discard(_packet_id(packet))
                self._reply(PubcompPacket.build(_packet_id(packet)))
            case kinds.SUBSCRIBE:
                self._handle_subscribe(packet)
            case kinds.UNSUBSCRIBE:
                self._hub.unsubscribe(self, _at_least_one(packet.payload.topics))
                self._reply(UnsubackPacket.build(_packet_id(packet)))
            case kinds.PINGREQ:
                self._reply(PingRespPacket.build())
            case kinds.DISCONNECT:
                self.end("DISCONNECT", publish_will=False)
            case _:
                raise ProtocolViolation("only a broker sends this packet")
        return False

    def _handle_publish(self, packet: Packet) -> None:
        """Route a message, then acknowledge it; a denied one as well, as 3.1.1 has no negative acknowledgement."""
        qos = packet.qos
        if qos > 2 or (packet.dup_flag and not qos):
            raise ProtocolViolation("impossible flags [MQTT-3.3.1-2, MQTT-3.3.1-4]")
        if not is_topic(packet.topic_name):
            raise ProtocolViolation("a topic to publish to must not be empty or have wildcards [MQTT-3.3.2-2]")
        packet_id = _packet_id(packet) if qos else 0
        if packet_id not in self._unreleased:
            self._hub.publish(self.username, Message(packet.topic_name, packet.data, qos, packet.retain_flag))
        if qos == 1:
            self._reply(PubackPacket.build(packet_id))
        elif qos == 2:
            self._unreleased.add(packet_id)
            self._reply(PubrecPacket.build(packet_id))

    def _handle_subscribe(self, packet: Packet) -> None:
        filters = _at_least_one(packet.payload.topics)
        if any(qos > 2 for _, qos in filters):
            raise ProtocolViolation("an impossible QoS [MQTT-3.8.3-4]")
        codes = self._hub.subscribe(self, filters)
        self._granted = _highest_qos(filters, codes)
        self._reply(SubackPacket.build(_packet_id(packet), codes))

    def _reply(self, packet: Packet) -> None:
        if self._outgoing is not None:
            self._outgoing.reply(packet.to_bytes())
            self._cut_if_overflowing(self._outgoing)

    def _cut_if_overflowing(self, outgoing: SendQueue) -> None:
        if outgoing.overflowing:
            self._outgoing = None
            self._hub.count("slow")
            log.warning("%s is disconnected: it does not read what it is sent, and its queue is full", self.username)
            # Not now: a message may be on its way to many clients, and this end may publish a will.
            self._loop.call_soon(self.end, "its queue is full")


def _packet_id(packet: Packet) -> int:
    packet_id: int = packet.variable_header.packet_id
    if not packet_id:
        raise ProtocolViolation("a packet id is 0 [MQTT-2.3.1-1]")
    return packet_id


def _highest_qos(filters: Sequence[tuple[str, int]], codes: Sequence[int]) -> dict[str, int]:
    """Return the granted filters with their granted QoS."""
    granted: dict[str, int] = {}
    for (filter_, _), code in zip(filters, codes, strict=True):
        if code != SUBSCRIPTION_REFUSED:
            granted[filter_] = code  # the last of equal filters replaces those before [MQTT-3.8.4-3]
    return granted


def _at_least_one(filters: list[F]) -> list[F]:
    if not filters:
        raise ProtocolViolation("no topic filter [MQTT-3.8.3-3]")
    return filters
