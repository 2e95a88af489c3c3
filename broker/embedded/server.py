"""The embedded broker: MQTT 3.1.1 in this process, without a server to install.

For one machine up to a few thousand agents; beyond that the same contract runs on Mosquitto or EMQX. It uses amqtt
through `broker.embedded.broker`. Retained messages survive a restart (`broker.embedded.retained`); sessions do not.

Invariants:
- Beyond loopback it listens only with TLS, or with `insecure`; anything else is rejected before a port is opened. With
  TLS it accepts no plain connection.
- A start that fails leaves nothing listening.
- A client whose principal is revoked or whose secret changed is disconnected within seconds (`refresh_seconds` plus one
  query).
- It never accepts more connections than the process has file descriptors for.
"""

import asyncio
import datetime
import errno
import logging
import signal
import socket
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from broker.access.principals import Directory
from broker.embedded.broker import BACKLOG, Allowed, BrokerCore, GrantCache
from broker.embedded.connection import ConnectionLimits
from broker.embedded.rate_budget import ClientRate
from broker.embedded.retained import WRITE_SECONDS, RetainedFile, RetainedMessages
from broker.tls.certificate_watch import CHECK_SECONDS, CertificateWatch
from broker.tls.listening import BrokerError, address_of, listening_context
from runtime.process import raise_file_limit
from runtime.rate_limited_log import RateLimitedLog
from runtime.settings.broker import BrokerSettings

__all__ = ["BrokerError", "EmbeddedBroker", "run"]

_OWN_DESCRIPTORS = 64  # files that the process opens beside its connections

log = logging.getLogger(__name__)
_write_failures = RateLimitedLog(log)


class EmbeddedBroker:
    """A broker in this process's event loop. All methods but the constructor are called in that loop.

    `retained`: the file of retained messages; None to keep them in memory only.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        directory: Directory,
        *,
        allowed: Allowed | None = None,
        limits: ConnectionLimits | None = None,
        retained: RetainedFile | None = None,
        refresh_seconds: float = 1.0,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._allowed = allowed or GrantCache()
        self._limits = limits or connection_limits(settings)
        self._retained = retained
        self._refresh_seconds = refresh_seconds
        self._core: BrokerCore | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def clients(self) -> frozenset[str]:
        """Client ids that are connected."""
        return self._core.clients if self._core is not None else frozenset()

    @property
    def connections(self) -> int:
        """Number of open sockets, including clients not admitted (yet)."""
        return self._core.connections if self._core is not None else 0

    @property
    def counters(self) -> Counter[str]:
        """Number of events since the start: published, publish_denied, refused, violations, throttled, slow, …"""
        return self._core.counters.copy() if self._core is not None else Counter()

    async def start(self) -> None:
        """Listen. Raises BrokerError."""
        _quiet_amqtt()
        tls = listening_context(self._settings)
        await asyncio.to_thread(self._directory.refresh)
        retained = RetainedMessages()
        if self._retained is not None:
            retained.load(await asyncio.to_thread(self._retained.read))
            _forget_revoked(retained, self._directory)
        settings = self._settings.model_copy(update={"max_connections": _room_for(self._settings.max_connections)})
        listeners = _listen_on_all(settings)
        core = BrokerCore(settings, self._directory, listeners, self._allowed, self._limits, retained, tls)
        try:
            await core.start()
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
        self._core = core
        self._tasks = [asyncio.create_task(self._follow_the_directory(core))]
        if tls is not None:
            self._tasks.append(asyncio.create_task(_follow_the_certificate(CertificateWatch(self._settings, tls))))
        if self._retained is not None:
            self._tasks.append(asyncio.create_task(self._write_retained(core.retained, self._retained)))

    async def stop(self) -> None:
        """End every connection, write what is retained, and free the port. May be called again."""
        tasks, self._tasks = self._tasks, []
        core, self._core = self._core, None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if core is not None:
            await core.stop()
            if self._retained is not None:
                await _write(self._retained, core.retained)
                await asyncio.to_thread(self._retained.close)

    async def _write_retained(self, retained: RetainedMessages, file: RetainedFile) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await asyncio.shield(_write(file, retained))

    async def _follow_the_directory(self, core: BrokerCore) -> None:
        """End the sessions of principals whose entry changed. Read in a thread, since the query may take long."""
        while True:
            await asyncio.sleep(self._refresh_seconds)
            try:
                changed = await asyncio.to_thread(self._directory.refresh)
            except Exception:  # without this task, revoking a credential would have no effect
                log.exception("cannot read the principals again")
                continue
            core.check(changed)


def connection_limits(settings: BrokerSettings) -> ConnectionLimits:
    """Return the limits of a client that the settings name."""
    return ConnectionLimits(
        filters_per_packet=settings.filters_per_packet,
        rate=ClientRate(settings.client_messages_per_second, settings.client_bytes_per_second),
        sessions_per_token=settings.sessions_per_token,
    )


def run(settings: BrokerSettings, directory: Directory, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; call `on_ready` once it listens. Raises BrokerError."""
    asyncio.run(_serve(settings, directory, on_ready))


async def _serve(settings: BrokerSettings, directory: Directory, on_ready: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows, where asyncio.run handles Ctrl+C
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    broker = EmbeddedBroker(settings, directory, retained=RetainedFile(settings.data / "broker" / "retained.db"))
    await broker.start()
    try:
        on_ready()
        await stopping.wait()
    finally:
        await broker.stop()


async def _follow_the_certificate(watch: CertificateWatch) -> None:
    while True:
        await asyncio.to_thread(watch.check, datetime.datetime.now(datetime.UTC))
        await asyncio.sleep(CHECK_SECONDS)


async def _write(file: RetainedFile, retained: RetainedMessages) -> None:
    changes = retained.take_changes()
    if not changes:
        return
    try:
        await asyncio.to_thread(file.write, changes)
    except sqlite3.Error as error:
        retained.put_back(changes)
        _write_failures.warning("write", "cannot write the retained messages, they are tried again: %s", error)


def _forget_revoked(retained: RetainedMessages, directory: Directory) -> None:
    """Remove what principals retained that were revoked while no broker ran."""
    if directory.entries():  # without any the table could not be read, which proves nothing
        for owner in retained.owners:
            if directory.find(owner) is None:
                retained.forget(owner)


def _room_for(connections: int) -> int:
    """Return the number of connections that the limit of file descriptors allows, raised as far as it may be."""
    limit = raise_file_limit(connections + _OWN_DESCRIPTORS)
    if limit >= connections + _OWN_DESCRIPTORS:
        return connections
    room = max(1, limit - _OWN_DESCRIPTORS)
    log.warning("only %d connections at once: the process may open %d files (ulimit -n)", room, limit)
    return room


def _listen_on_all(settings: BrokerSettings) -> list[socket.socket]:
    """Listen for MQTT and, if there is a port for them, for WebSockets. Raises BrokerError."""
    listeners = [_listen(settings.bind, settings.port, "--port")]
    if settings.websocket_port is not None:
        try:
            listeners.append(_listen(settings.bind, settings.websocket_port, "websocket_port"))
        except BrokerError:
            listeners[0].close()
            raise
    return listeners


def _listen(bind: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if address_of(bind).version == 6 else socket.AF_INET
    try:
        return socket.create_server((bind, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise BrokerError(
                f"port {port} on {bind} is taken: stop what listens there, or choose another with {setting}"
            ) from None
        raise BrokerError(f"cannot listen on port {port} of {bind}: {error.strerror}") from None


def _quiet_amqtt() -> None:
    """Silence its log of every packet; this package logs what matters."""
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.WARNING)
