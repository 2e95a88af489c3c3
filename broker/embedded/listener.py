"""Accepting connections: from listening sockets to a reader and a writer, with the handshakes between.

Invariants:
- A handshake is part of a connection: it counts towards the limits, has a time limit, and ends with the listener.
- Whatever happens to one connection, or while accepting it, the next ones are accepted.
- A connection is *pending* until its client is admitted. When all places are taken, a pending connection older than
  PENDING_SECONDS of the address with most pending ones gives up its place, so that sockets without a credential cannot
  keep clients with one out.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping

from broker.embedded.byte_stream import ByteReader, ByteWriter

Serve = Callable[[ByteReader, ByteWriter], Awaitable[None]]
Upgrade = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[tuple[ByteReader, ByteWriter] | None]]
"""Handshake of a protocol below MQTT; returns None if it refused the client, and raises EOFError or OSError."""

PENDING_SECONDS = 1.0
_PAUSE_SECONDS = 1.0  # when no file descriptor is left, which passes
_HANDSHAKE_SECONDS = 10.0

log = logging.getLogger(__name__)


class Listener:
    """Serves connections of listening sockets, at most `most` at once; calls `too_many` for each one rejected.

    `listening` maps each socket to the handshake after that of TLS; None for MQTT without one.
    """

    def __init__(
        self,
        listening: Mapping[socket.socket, Upgrade | None],
        serve: Serve,
        *,
        most: int,
        too_many: Callable[[], None],
        tls: ssl.SSLContext | None = None,
        handshake_seconds: float = _HANDSHAKE_SECONDS,
    ) -> None:
        for each in listening:
            each.setblocking(False)
        self._listening = listening
        self._serve = serve
        self._most = most
        self._too_many = too_many
        self._tls = tls
        self._handshake_seconds = handshake_seconds
        self._loop = asyncio.get_running_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._pending: dict[str, dict[asyncio.Task[None], float]] = {}
        """By address: the connections not admitted yet, oldest first, with the time of their start."""
        self._addresses: dict[asyncio.Task[None], str] = {}
        self._accepting = [self._loop.create_task(self._accept(each, upgrade)) for each, upgrade in listening.items()]

    def close(self) -> None:
        """Stop accepting and end the handshakes; admitted connections go on."""
        for accepting in self._accepting:
            accepting.cancel()
        for handshake in self._handshakes:
            handshake.cancel()
        for listening in self._listening:
            listening.close()

    async def wait_closed(self) -> None:
        """Wait until nothing is accepted and no handshake goes on."""
        await asyncio.gather(*self._accepting, *self._handshakes, return_exceptions=True)

    def admitted(self, connection: "asyncio.Task[None]") -> None:
        """Remove a connection from the pending ones: its client has proved its credential."""
        address = self._addresses.pop(connection, None)
        if address is not None:
            pending = self._pending[address]
            del pending[connection]
            if not pending:
                del self._pending[address]

    async def _accept(self, listening: socket.socket, upgrade: Upgrade | None) -> None:
        while True:
            try:
                accepted, address = await self._loop.sock_accept(listening)
            except ConnectionError:  # gone again already
                continue
            except OSError as error:
                log.error("cannot accept connections for a moment: %s", error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if not self._has_room():
                self._too_many()
                accepted.close()
                continue
            self._begin(accepted, str(address[0]), upgrade)

    def _begin(self, accepted: socket.socket, address: str, upgrade: Upgrade | None) -> None:
        connection = self._loop.create_task(self._open(accepted, upgrade))
        for tasks in (self._connections, self._handshakes):
            tasks.add(connection)
            connection.add_done_callback(tasks.discard)
        self._addresses[connection] = address
        self._pending.setdefault(address, {})[connection] = self._loop.time()
        connection.add_done_callback(self.admitted)

    def _has_room(self) -> bool:
        """Return True if one more connection may begin, after evicting a pending one if needed."""
        if len(self._connections) < self._most:
            return True
        busiest = max(self._pending, key=lambda each: len(self._pending[each]), default=None)
        return busiest is not None and self._evict(busiest)

    def _evict(self, address: str) -> bool:
        """End the oldest pending connection of an address, if it is pending for too long."""
        oldest, since = next(iter(self._pending[address].items()))
        if self._loop.time() - since < PENDING_SECONDS:
            return False
        self._too_many()
        self.admitted(oldest)
        self._connections.discard(oldest)
        oldest.cancel()
        return True

    async def _open(self, accepted: socket.socket, upgrade: Upgrade | None) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        timeout = self._handshake_seconds if self._tls is not None else None
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._tls, ssl_handshake_timeout=timeout
            )
        except OSError as error:  # includes ssl.SSLError and a handshake that took too long
            log.debug("a connection could not be opened: %s", error)
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        streams = (reader, writer) if upgrade is None else await self._upgraded(upgrade, reader, writer)
        task = asyncio.current_task()
        if task is not None:
            self._handshakes.discard(task)
        if streams is not None:
            await self._serve(*streams)

    async def _upgraded(
        self, upgrade: Upgrade, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[ByteReader, ByteWriter] | None:
        """Return the streams after a handshake; None when it failed, or took too long, and the connection has ended."""
        try:
            async with asyncio.timeout(self._handshake_seconds):
                streams = await upgrade(reader, writer)
                if streams is None:
                    writer.close()
                return streams
        except (TimeoutError, EOFError, OSError) as error:
            log.debug("a connection could not be upgraded: %s", error)
            writer.transport.abort()
            return None
        except BaseException:
            writer.transport.abort()
            raise
