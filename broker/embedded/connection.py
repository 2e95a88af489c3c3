"""One client of the embedded broker, from its CONNECT to its end.

Invariants:
- Until its CONNECT is accepted a client has no name, no session and no effect on any other client.
- A connection ends once, whatever the cause and however many causes there are: `end` takes effect at once and for good,
  so that a will is out before whatever follows, and nothing that was read before is acted upon after.
- A will is published unless the client said DISCONNECT or the broker stops; whether it may be is asked then.
- Silence for 1.5 times the keep-alive ends a connection; so does a CONNECT that is not complete in time. Only whole
  packets count.
"""

import asyncio
import itertools
import logging
from collections.abc import Sequence
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
from broker.embedded.codec import ConnectRefused, Packet, ProtocolViolation, is_topic, read_connect, read_packet
from broker.embedded.send_queue import SendQueue

_PATIENCE = 1.5  # keep-alives [MQTT-3.1.2-24]
_TURN = 64  # packets of one client before the others have theirs

F = TypeVar("F")

Credential = tuple[Principal, str]
"""A principal, and the record of the secret that it showed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one client may take of the broker."""

    queue_bytes: int = 16 << 20
    ingestor_queue_bytes: int = 256 << 20  # each machine may have one batch on its way to it
    window: int = 2048  # QoS 1 messages sent and not acknowledged
    subscriptions: int = 4096


class Hub(Protocol):
    """What a connection asks of the broker it belongs to."""

    def admit(self, connection: "Connection", connect: Packet) -> SendQueue:
        """Decide on a CONNECT and make it this client's only connection. Raises Refusal, having changed nothing."""
        ...

    def publish(self, username: str, message: Message) -> None:
        """Route a message to all who may receive it, if this client may publish it."""
        ...

    def subscribe(self, connection: "Connection", filters: Sequence[tuple[str, int]]) -> list[int]:
        """Subscribe to what is allowed; returns the return codes of SUBACK."""
        ...

    def unsubscribe(self, connection: "Connection", filters: Sequence[str]) -> None:
        """End these subscriptions."""
        ...

    def forget(self, connection: "Connection") -> None:
        """The connection is over: nothing is routed to it any more."""
        ...

    def count(self, what: str) -> None:
        """Add one to a counter."""
        ...


class Connection:
    """One accepted socket. `username` and `client_id` are empty until its CONNECT is accepted."""

    def __init__(self, hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.username = ""
        self.client_id = ""
        self.credential: Credential | None = None
        """What it was let in with."""
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

    async def serve(self, *, max_packet_bytes: int, connect_seconds: float) -> None:
        """Speak with the client until one of the two ends it."""
        try:
            connect = await self._read_connect(max_packet_bytes, connect_seconds)
            if self._ended:
                return
            outgoing = self._hub.admit(self, connect)
            self._begin(connect, outgoing)
            await self._speak(outgoing, max_packet_bytes)
        except ConnectRefused as refusal:
            self._refuse(refusal)
        except ProtocolViolation as violation:
            self._hub.count("violations")
            self.end(f"it broke the protocol: {violation}")
        except (EOFError, OSError):
            self.end("the connection was lost")
        finally:
            self.end("it failed")

    def send(self, message: Message) -> None:
        """Send a message when it is its turn. A client that does not take what it is sent is cut, in a moment."""
        if self._outgoing is not None:
            self._outgoing.deliver(message)
            self._cut_if_overflowing(self._outgoing)

    def end(self, reason: str, *, publish_will: bool = True) -> None:
        """End the connection now, whoever asks. The first call counts."""
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
            raise ProtocolViolation("its CONNECT took too long") from None

    def _begin(self, connect: Packet, outgoing: SendQueue) -> None:
        self._outgoing = outgoing
        if connect.will_flag:
            will, retain = bytes(connect.will_message), connect.will_retain_flag
            self._will = Message(connect.will_topic, will, connect.will_qos, retain)
        self._reply(ConnackPacket.build(0, CONNECTION_ACCEPTED))
        self._heard = self._loop.time()
        self._patience = connect.keep_alive * _PATIENCE
        if self._patience:
            self._watch()

    def _watch(self) -> None:
        """End the connection when it has been silent for too long; look again when it could be."""
        silent = self._loop.time() - self._heard
        if silent >= self._patience:
            self._hub.count("silent")
            self.end("it was silent for too long")
        else:
            self._timer = self._loop.call_later(self._patience - silent, self._watch)

    def _refuse(self, refusal: ConnectRefused) -> None:
        self._hub.count("refused")
        log.debug("a connection was refused: %s", refusal)
        self._ended = True
        self._writer.write(ConnackPacket.build(0, refusal.code).to_bytes())
        self._writer.close()

    async def _speak(self, outgoing: SendQueue, max_packet_bytes: int) -> None:
        sender = asyncio.create_task(outgoing.send(self._writer))
        try:
            for turn in itertools.count(1):
                packet = await read_packet(self._reader, max_packet_bytes)
                if self._ended:
                    return
                self._heard = self._loop.time()
                self._handle(packet)
                if turn % _TURN == 0:
                    await asyncio.sleep(0)
        finally:
            sender.cancel()
            await asyncio.wait((sender,))

    def _handle(self, packet: Packet) -> None:
        match packet.fixed_header.packet_type:
            case kinds.PUBLISH:
                self._handle_publish(packet)
            case kinds.PUBACK:
                if self._outgoing is not None:
                    self._outgoing.acknowledged(_packet_id(packet))
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
                self.end("it said so", publish_will=False)
            case _:
                raise ProtocolViolation("only a broker sends this packet")

    def _handle_publish(self, packet: Packet) -> None:
        """Route a message, then acknowledge it: also one that may not be published, as 3.1.1 has no other answer."""
        qos = packet.qos
        if qos > 2 or (packet.dup_flag and not qos):
            raise ProtocolViolation("impossible flags [MQTT-3.3.1-2, MQTT-3.3.1-4]")
        if not is_topic(packet.topic_name):
            raise ProtocolViolation("nothing can be published there [MQTT-3.3.2-2]")
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
        self._reply(SubackPacket.build(_packet_id(packet), self._hub.subscribe(self, filters)))

    def _reply(self, packet: Packet) -> None:
        if self._outgoing is not None:
            self._outgoing.reply(packet.to_bytes())
            self._cut_if_overflowing(self._outgoing)

    def _cut_if_overflowing(self, outgoing: SendQueue) -> None:
        if outgoing.overflowing:
            self._outgoing = None
            self._hub.count("slow")
            log.warning("%s is cut: it does not take what it is sent", self.username)
            # Not now: somebody is in the middle of routing a message to many, and this end may publish a will.
            self._loop.call_soon(self.end, "it does not take what it is sent")


def _packet_id(packet: Packet) -> int:
    packet_id: int = packet.variable_header.packet_id
    if not packet_id:
        raise ProtocolViolation("a packet id is 0 [MQTT-2.3.1-1]")
    return packet_id


def _at_least_one(filters: list[F]) -> list[F]:
    if not filters:
        raise ProtocolViolation("no topic filter [MQTT-3.8.3-3]")
    return filters
