"""The embedded broker: MQTT 3.1.1 in this process, without a server to install.

For one machine up to a few thousand agents; past that the same contract runs on Mosquitto or EMQX. It is amqtt below
`broker.embedded.broker`. Nothing survives a restart, which the contract allows: agents connect, subscribe and announce
themselves again.

Invariants:
- Beyond loopback it listens with TLS, or when told that it may do without (`insecure`); anything else is refused before
  a port is opened. With TLS it speaks nothing else.
- A start that fails leaves nothing listening.
- Who is revoked, or whose secret is good no longer, is disconnected within seconds (`refresh_seconds`, and the time of
  one query).
"""

import asyncio
import errno
import logging
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from broker.access.principals import Directory
from broker.embedded.broker import BACKLOG, Allowed, BrokerCore, cached_allowed
from broker.embedded.connection import ConnectionLimits
from broker.tls.listening import BrokerError, address_of, listening_context
from runtime.settings.broker import BrokerSettings

__all__ = ["BrokerError", "EmbeddedBroker", "run"]

log = logging.getLogger(__name__)


class EmbeddedBroker:
    """A broker inside this process's event loop. Everything but the constructor belongs to that loop."""

    def __init__(
        self,
        settings: BrokerSettings,
        directory: Directory,
        *,
        allowed: Allowed = cached_allowed,
        limits: ConnectionLimits | None = None,
        refresh_seconds: float = 1.0,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._allowed = allowed
        self._limits = limits or ConnectionLimits()
        self._refresh_seconds = refresh_seconds
        self._guard: BrokerCore | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def clients(self) -> frozenset[str]:
        """The client ids that are connected."""
        return self._guard.clients if self._guard is not None else frozenset()

    @property
    def connections(self) -> int:
        """How many sockets are open, those not let in (yet) included."""
        return self._guard.connections if self._guard is not None else 0

    @property
    def counters(self) -> Counter[str]:
        """How often things happened since the start: published, publish_denied, refused, violations, slow, …"""
        return self._guard.counters.copy() if self._guard is not None else Counter()

    async def start(self) -> None:
        """Listen. Raises BrokerError."""
        _quiet_amqtt()
        tls = listening_context(self._settings)
        await asyncio.to_thread(self._directory.refresh)
        listener = _listen(self._settings.bind, self._settings.port)
        guard = BrokerCore(self._settings, self._directory, listener, self._allowed, self._limits, tls)
        try:
            await guard.start()
        except BaseException:
            listener.close()
            raise
        self._guard = guard
        self._following = asyncio.create_task(self._follow_the_directory(guard))

    async def stop(self) -> None:
        """End every connection and free the port. May be called again."""
        following, self._following = self._following, None
        guard, self._guard = self._guard, None
        if following is not None:
            following.cancel()
        if guard is not None:
            await guard.stop()

    async def _follow_the_directory(self, guard: BrokerCore) -> None:
        """End the sessions of those whose entry changed. Off the loop, since reading it may take long."""
        while True:
            await asyncio.sleep(self._refresh_seconds)
            try:
                changed = await asyncio.to_thread(self._directory.refresh)
            except Exception:  # without this task nobody would be disconnected any more
                log.exception("the principals could not be read again")
                continue
            guard.check(changed)


def run(settings: BrokerSettings, directory: Directory, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `on_ready` is called once it listens. Raises BrokerError."""
    asyncio.run(_serve(settings, directory, on_ready))


async def _serve(settings: BrokerSettings, directory: Directory, on_ready: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows: there asyncio.run turns Ctrl+C into an end of its own
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    broker = EmbeddedBroker(settings, directory)
    await broker.start()
    try:
        on_ready()
        await stopping.wait()
    finally:
        await broker.stop()


def _listen(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if address_of(bind).version == 6 else socket.AF_INET
    try:
        return socket.create_server((bind, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BrokerError(
                f"port {port} on {bind} is taken: stop what listens there, or choose another with --port"
            ) from None
        raise BrokerError(f"cannot listen on port {port} of {bind}: {error.strerror}") from None


def _quiet_amqtt() -> None:
    """It logs every packet; what matters here is logged by the files of this package."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.WARNING)
