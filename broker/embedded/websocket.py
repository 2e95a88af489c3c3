"""MQTT over WebSockets (MQTT 3.1.1, section 6): a stream of bytes within binary frames.

Invariants:
- A handshake is for the path PATH and the subprotocol `mqtt`. What comes from a browser names its origin, which must be
  this server's or one of the settings; other clients name none, or this server's.
- Frames are read when MQTT asks for bytes, so what a slow server has not read waits at the client. A message is at most
  MESSAGE_MAX_BYTES, or the size of a packet if that is larger.
- Nothing is compressed: no message grows when it is read.
"""

import asyncio
from collections.abc import Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

PATH: Final = "/mqtt"
MESSAGE_MAX_BYTES: Final = 1 << 20
_READ_BYTES = 1 << 16
_SUBPROTOCOL = Subprotocol("mqtt")


class WebSocketWriter:
    """Sends bytes as binary frames; see `ByteWriter`."""

    def __init__(self, protocol: ServerProtocol, writer: asyncio.StreamWriter) -> None:
        self._protocol = protocol
        self._writer = writer

    @property
    def transport(self) -> asyncio.WriteTransport:
        """See `ByteWriter`."""
        return self._writer.transport

    def write(self, data: bytes, /) -> None:
        """See `ByteWriter`. A connection that is closing sends nothing more."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(data)
            self.flush()

    def close(self) -> None:
        """See `ByteWriter`."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self.flush()
        self._writer.close()

    async def drain(self) -> None:
        """See `ByteWriter`."""
        await self._writer.drain()

    def flush(self) -> None:
        """Send what the protocol has to say, such as the answer to a ping."""
        for data in self._protocol.data_to_send():
            if data:  # nothing: the protocol has ended, which ends the connection
                self._writer.write(data)


class WebSocketReader:
    """Reads bytes from binary frames; see `ByteReader`."""

    def __init__(self, protocol: ServerProtocol, reader: asyncio.StreamReader, writer: WebSocketWriter) -> None:
        self._protocol = protocol
        self._reader = reader
        self._writer = writer
        self._bytes = bytearray()

    async def readexactly(self, n: int, /) -> bytes:
        """See `ByteReader`."""
        while len(self._bytes) < n:
            if self._protocol.state is not State.OPEN:
                raise asyncio.IncompleteReadError(bytes(self._bytes), n)
            await self._fill()
        taken = bytes(self._bytes[:n])
        del self._bytes[:n]
        return taken

    async def _fill(self) -> None:
        if data := await self._reader.read(_READ_BYTES):
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for frame in self._protocol.events_received():
            if not isinstance(frame, Frame):
                continue
            if frame.opcode in (Opcode.BINARY, Opcode.CONT):
                self._bytes += frame.data
            elif frame.opcode is Opcode.TEXT:
                self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "MQTT is binary")
        self._writer.flush()


async def open_websocket(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, origins: Collection[str], max_packet_bytes: int
) -> tuple[WebSocketReader, WebSocketWriter] | None:
    """Answer the handshake; return None if it was refused.

    Raises EOFError or OSError when the connection ends before.
    """
    size = max(MESSAGE_MAX_BYTES, max_packet_bytes)
    protocol = ServerProtocol(subprotocols=[_SUBPROTOCOL], max_size=size)
    request = await _read_request(protocol, reader)
    if request is None:
        return None
    if urlsplit(request.path).path != PATH:
        response = protocol.reject(HTTPStatus.NOT_FOUND, f"MQTT is at {PATH}.\n")
    elif not _is_permitted(request, origins):
        response = protocol.reject(HTTPStatus.FORBIDDEN, "This origin is not one of websocket_origins.\n")
    else:
        response = protocol.accept(request)
    protocol.send_response(response)
    framed = WebSocketWriter(protocol, writer)
    framed.flush()
    await writer.drain()
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        return None
    return WebSocketReader(protocol, reader, framed), framed


async def _read_request(protocol: ServerProtocol, reader: asyncio.StreamReader) -> Request | None:
    """Return the request, or None if it is not HTTP. Its size is bounded by the protocol."""
    while protocol.handshake_exc is None:
        for event in protocol.events_received():
            if isinstance(event, Request):
                return event
        data = await reader.read(_READ_BYTES)
        if not data:
            raise EOFError
        protocol.receive_data(data)
    return None


def _is_permitted(request: Request, origins: Collection[str]) -> bool:
    found = request.headers.get_all("Origin")
    if not found:
        return True
    host = request.headers.get_all("Host")
    return len(found) == 1 and (found[0] in origins or [urlsplit(found[0]).netloc] == host)
