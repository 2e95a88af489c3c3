"""Accepting connections: one socket in, a reader and a writer out, and the TLS handshake between.

Invariants:
- A handshake is part of a connection: it counts, it is limited in time, and it ends with the listener.
- Whatever happens to one connection, or while accepting it, the next ones are accepted.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_PAUSE_SECONDS = 1.0  # when there are no file descriptors left, which passes
_HANDSHAKE_SECONDS = 10.0

log = logging.getLogger(__name__)


class Listener:
    """Serves connections from a socket that listens, at most `most` at once; `too_many` is told of others."""

    def __init__(
        self,
        listening: socket.socket,
        serve: Serve,
        *,
        most: int,
        too_many: Callable[[], None],
        tls: ssl.SSLContext | None = None,
        handshake_seconds: float = _HANDSHAKE_SECONDS,
    ) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._serve = serve
        self._most = most
        self._too_many = too_many
        self._tls = tls
        self._handshake_seconds = handshake_seconds
        self._loop = asyncio.get_running_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept nobody any more, and end the handshakes; connections that are served go on."""
        self._accepting.cancel()
        for handshake in self._handshakes:
            handshake.cancel()
        self._listening.close()

    async def wait_closed(self) -> None:
        """Wait until nothing is accepted and no handshake goes on."""
        await asyncio.gather(self._accepting, *self._handshakes, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            try:
                accepted, _ = await self._loop.sock_accept(self._listening)
            except ConnectionError:  # gone again already
                continue
            except OSError as error:
                log.error("cannot accept connections for a moment: %s", error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._connections) >= self._most:
                self._too_many()
                accepted.close()
                continue
            connection = self._loop.create_task(self._open(accepted))
            for tasks in (self._connections, self._handshakes):
                tasks.add(connection)
                connection.add_done_callback(tasks.discard)

    async def _open(self, accepted: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        timeout = self._handshake_seconds if self._tls is not None else None
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._tls, ssl_handshake_timeout=timeout
            )
        except OSError as error:  # ssl.SSLError, and a handshake that took too long, too
            log.debug("a connection could not be opened: %s", error)
            return
        task = asyncio.current_task()
        if task is not None:
            self._handshakes.discard(task)
        await self._serve(reader, asyncio.StreamWriter(transport, protocol, reader, self._loop))
