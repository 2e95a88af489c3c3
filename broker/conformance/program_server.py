"""The port on loopback at which a program reaches the broker of its run. Driven by `pump`, without a thread."""

import selectors
import socket

from broker.client.transport import Message
from broker.conformance import packets
from broker.conformance.packets import Packet, PacketBuffer, PacketError
from broker.conformance.program_broker import ProgramBroker

READ_BYTES = 1 << 16
SEND_SECONDS = 5.0
VERSION_5 = 5


class ProgramServer:
    """Listens on a free port of 127.0.0.1 for the clients of a ProgramBroker."""

    def __init__(self, broker: ProgramBroker) -> None:
        self._broker = broker
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port: int = self._listener.getsockname()[1]

    def pump(self, seconds: float) -> None:
        """Handle what arrives within `seconds`, and return after the first of it."""
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._accept()
            else:
                key.data.read()

    def close(self) -> None:
        """End all connections and stop listening."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.close()
        self._selector.unregister(self._listener)
        self._listener.close()
        self._selector.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return  # it left before it was accepted
        accepted.settimeout(SEND_SECONDS)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(accepted, self._selector, self._broker)
        self._selector.register(accepted, selectors.EVENT_READ, connection)


class _Connection:
    """Connection of a client."""

    def __init__(self, sock: socket.socket, selector: selectors.BaseSelector, broker: ProgramBroker) -> None:
        self._socket = sock
        self._selector = selector
        self._broker = broker
        self._buffer = PacketBuffer()
        self._is_open = True
        self._packet_id = 0

    def send(self, message: Message) -> None:
        """Send a PUBLISH."""
        self._packet_id = self._packet_id % 0xFFFF + 1
        self._write(packets.write_publish(message, self._packet_id))

    def close(self) -> None:
        """Close the socket."""
        if self._is_open:
            self._is_open = False
            self._selector.unregister(self._socket)
            self._socket.close()

    def read(self) -> None:
        """Read what has arrived, and handle its packets."""
        try:
            data = self._socket.recv(READ_BYTES)
            if not data:
                self._end(orderly=False)
            for packet in self._buffer.feed(data):
                self._handle(packet)
        except (OSError, PacketError):
            self._end(orderly=False)

    def _handle(self, packet: Packet) -> None:
        match packet.type:
            case packets.CONNECT:
                self._connect(packet)
            case packets.PUBLISH:
                message, packet_id = packets.read_publish(packet)
                self._broker.publish(message)
                if message.qos:
                    self._write(packets.write_answer(packets.PUBACK, packet_id))
            case packets.PUBACK:
                self._broker.acknowledge()
            case packets.SUBSCRIBE:
                packet_id, filters = packets.read_filters(packet)
                self._write(packets.write_answer(packets.SUBACK, packet_id, self._broker.subscribe(filters)))
                self._broker.send_retained(filters)
            case packets.UNSUBSCRIBE:
                packet_id, filters = packets.read_filters(packet)
                self._broker.unsubscribe([filter_ for filter_, _ in filters])
                self._write(packets.write_answer(packets.UNSUBACK, packet_id))
            case packets.PINGREQ:
                self._write(packets.write(packets.PINGRESP))
            case packets.DISCONNECT:
                self._end(orderly=True)

    def _connect(self, packet: Packet) -> None:
        connect = packets.read_connect(packet.body)
        code = self._broker.connect(self, connect)
        self._write(packets.MQTT_5_REFUSED if connect.version >= VERSION_5 else packets.write_connack(code))
        if code != packets.ACCEPTED:
            self.close()

    def _write(self, data: bytes) -> None:
        if not self._is_open:
            return
        try:
            self._socket.sendall(data)
        except OSError:
            self._end(orderly=False)

    def _end(self, *, orderly: bool) -> None:
        self.close()
        self._broker.leave(self, orderly=orderly)
