"""Networks to break: two namespaces with a wire between them, and a TCP proxy on loopback."""

import asyncio
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from faults.fleet import Place
from servers import free_port, require_program

SERVER_ADDRESS = "10.213.0.1"
MACHINE_ADDRESS = "10.213.0.2"
PIECE_BYTES = 100  # passed on in such pieces, so that a cut hits packets in the middle


def require_root() -> None:
    """Skip on a user's machine, fail in CI."""
    if os.geteuid() != 0:
        message = "this breaks a network of its own: run it as root"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


class Wire:
    """A server's and a machine's network namespace, and the wire between them. Servers listen on the server's loopback.

    What arrives from the machine for any port is handed to that loopback, so the embedded broker can stay there.
    """

    def __init__(self) -> None:
        tag = f"df{os.getpid()}"
        self._server, self._machine = f"{tag}s", f"{tag}m"
        self.server = Place(("ip", "netns", "exec", self._server), "127.0.0.1")
        self.machine = Place(("ip", "netns", "exec", self._machine), SERVER_ADDRESS)

    def lay(self) -> None:
        """Make the namespaces and join them."""
        for name in (self._server, self._machine):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        ends = ("eth0", "netns", self._server, "type", "veth", "peer", "name", "eth0", "netns", self._machine)
        _run("ip", "link", "add", *ends)
        for name, address in ((self._server, SERVER_ADDRESS), (self._machine, MACHINE_ADDRESS)):
            _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _run("ip", "-n", name, "link", "set", "eth0", "up")
        _run(*self.server.prefix, "sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
        _run(*self.server.prefix, "nft", "add table ip nat")
        _run(*self.server.prefix, "nft", "add chain ip nat pre { type nat hook prerouting priority -100; }")
        _run(*self.server.prefix, "nft", "add rule ip nat pre iif eth0 meta l4proto tcp dnat to 127.0.0.1")
        _run(*self.machine.prefix, "nft", "add table inet fault")
        for chain in ("input", "output"):
            rule = f"add chain inet fault {chain} {{ type filter hook {chain} priority 0; }}"
            _run(*self.machine.prefix, "nft", rule)

    def remove(self) -> None:
        """Delete the namespaces, and the wire with them."""
        for name in (self._server, self._machine):
            _run("ip", "netns", "del", name, check=False)

    def lose(self, percent: int) -> None:
        """Drop so many of all packets, in each direction."""
        self._drop(f"numgen random mod 100 < {percent} drop")

    def silence(self) -> None:
        """A black hole: every packet is dropped, no FIN and no RST ever arrives."""
        self._drop("drop")

    def _drop(self, rule: str) -> None:
        for chain in ("input", "output"):
            _run(*self.machine.prefix, "nft", f"add rule inet fault {chain} {rule}")

    def heal(self) -> None:
        """Let everything pass again."""
        _run(*self.machine.prefix, "nft", "flush table inet fault")

    def pull(self) -> None:
        """Take the link down, as a pulled cable does."""
        _run("ip", "-n", self._machine, "link", "set", "eth0", "down")

    def plug(self) -> None:
        """Take the link up again."""
        _run("ip", "-n", self._machine, "link", "set", "eth0", "up")


@contextmanager
def wire() -> Iterator[Wire]:
    """A wire that is removed at the end. Needs root."""
    require_root()
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("sysctl", "procps")):
        require_program(program, package)
    made = Wire()
    try:
        made.lay()
        yield made
    finally:
        made.remove()


def _run(*argv: str, check: bool = True) -> None:
    subprocess.run(argv, check=check)


@dataclass(slots=True)
class _Pair:
    """A client's connection and the one to the server that belongs to it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    held: bool = False
    """The server's side stays open although the client's is gone."""


class Proxy:
    """A TCP proxy on loopback, in a thread of its own, that can cut what passes through it."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.passed = 0
        """Bytes from clients to the server."""
        self.cuts = 0
        """How often `cut_after` has done its work."""
        self._cut_at: int | None = None
        self._served: set[asyncio.Task[None] | None] = set()
        self._target = target
        self._pairs: list[_Pair] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port), self._loop
        ).result(10)

    def stop(self) -> None:
        """Cut everything and stop listening."""
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self, *, half_open: bool = False) -> int:
        """Reset every client's connection, wherever in a packet it is; how many there were.

        With `half_open` the server hears nothing of it: its side stays open, as when a machine loses its network.
        """
        return asyncio.run_coroutine_threadsafe(self._cut(half_open=half_open), self._loop).result(10)

    def cut_after(self, count: int) -> None:
        """Cut everything when exactly so many bytes more have gone to the server, wherever in a packet that is."""
        self._cut_at = self.passed + count

    async def _cut(self, *, half_open: bool) -> int:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.held = half_open
            _reset(pair.client)
            if not half_open:
                _reset(pair.server)
        return len(pairs)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        pair = _Pair(writer, server)
        self._pairs.append(pair)
        served = asyncio.current_task()
        self._served.add(served)  # asyncio itself keeps no task alive
        try:
            await asyncio.gather(self._up(reader, pair), self._down(answers, pair))
        finally:
            self._served.discard(served)
            writer.transport.abort()
            server.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE_BYTES):
                if self._cut_at is not None and self.passed + len(data) >= self._cut_at:
                    data = data[: self._cut_at - self.passed]
                self.passed += len(data)
                pair.server.write(data)
                await pair.server.drain()
                if self.passed == self._cut_at:
                    self._cut_at = None
                    self.cuts += 1
                    pair.server.close()
                    await self._cut(half_open=True)
        if not pair.held:
            pair.server.close()

    async def _down(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE_BYTES):
                pair.client.write(data)
                await pair.client.drain()
        pair.client.close()
        pair.server.close()

    async def _finish(self) -> None:
        self._server.close()
        await self._cut(half_open=False)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close in the next turn of the loop


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A running proxy for this port on loopback."""
    made = Proxy(target)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
