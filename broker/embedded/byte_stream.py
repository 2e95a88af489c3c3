"""Streams of bytes of a client, over TCP or over a WebSocket."""

import asyncio
from typing import Protocol


class ByteReader(Protocol):
    """Bytes from a client, as of `asyncio.StreamReader`."""

    async def readexactly(self, n: int, /) -> bytes:
        """Return the next `n` bytes. Raises asyncio.IncompleteReadError, an EOFError, at the end."""
        ...


class ByteWriter(Protocol):
    """Bytes to a client, as of `asyncio.StreamWriter`."""

    @property
    def transport(self) -> asyncio.WriteTransport:
        """The transport of the socket."""
        ...

    def write(self, data: bytes, /) -> None:
        """Send bytes, or buffer them."""
        ...

    def close(self) -> None:
        """Send what is buffered, and close the connection."""
        ...

    async def drain(self) -> None:
        """Wait until the buffer has room. Raises OSError when the connection is lost."""
        ...
