"""A server side as it runs: a database, the embedded broker that reads its principals, and an ingestor in a thread."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from brokers import RunningBroker, RunningMosquitto, RunningNats
from servers import free_port
from sqlalchemy import Engine
from waiting import wait_until

from broker.access.credentials import new_secret
from broker.access.principals import TableDirectory
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Transport
from ingestor.admin.access import add_org, add_principal
from ingestor.files.machine_files import MachineFiles
from ingestor.ingestor import Ingestor
from ingestor.intake.rate_limits import RateLimits
from ingestor.run import PRINCIPAL
from ingestor.storage.store import Store
from runtime.clock import SystemClock
from runtime.settings.address import ServerAddress
from runtime.settings.broker import BrokerSettings

now = SystemClock().now


class Site:
    """Runs until it is stopped. `refresh_seconds`: how often the embedded broker reads the principals.

    `broker`: one that runs already, on the same principals, in place of the embedded one.
    """

    def __init__(
        self,
        engine: Engine,
        *orgs: str,
        refresh_seconds: float = 1.0,
        limits: RateLimits | None = None,
        broker: RunningBroker | RunningMosquitto | RunningNats | None = None,
        files: MachineFiles | None = None,
    ) -> None:
        self.engine = engine
        self._secret = new_secret()
        for org in orgs:
            add_org(engine, org, now=now)
        add_principal(engine, PRINCIPAL, self._secret, now=now)
        self._external = broker
        if broker is None:
            settings = BrokerSettings.model_validate({"data": Path(), "database": "sqlite://", "port": free_port()})
            self.broker = RunningBroker(settings, TableDirectory(engine), refresh_seconds=refresh_seconds)
        self.port = self.broker.port if broker is None else broker.port
        self.server = f"mqtt://127.0.0.1:{self.port}"
        self.ingestor = Ingestor(
            store=Store(engine, name="ingestor", dead_letter_max=1000),
            open_transport=self._open_transport,
            batch_max=1000,
            ack_seconds=0.1,
            clock=SystemClock(),
            limits=limits,
            files=files,
        )
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.start_ingestor()

    def start_ingestor(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._ingest, name="ingestor", daemon=True)
        self._thread.start()

    def pause_ingestor(self) -> None:
        """Let it do nothing until it is started again; its connection stays."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(20)

    def stop(self) -> None:
        self.pause_ingestor()
        self.ingestor.stop()
        if self._external is None:
            self.broker.stop()

    def _ingest(self) -> None:
        while not self._stopping.is_set():
            self.ingestor.step()

    def _open_transport(self, *, subscriptions: Sequence[tuple[str, int]]) -> Transport:
        return Mqtt(
            ServerAddress.parse(self.server),
            username=PRINCIPAL.username,
            password=self._secret,
            subscriptions=subscriptions,
            backoff=Backoff(first_seconds=0.05, most_seconds=0.2),
        )


@contextmanager
def site(
    engine: Engine,
    *orgs: str,
    refresh_seconds: float = 1.0,
    limits: RateLimits | None = None,
    broker: RunningBroker | RunningMosquitto | RunningNats | None = None,
    files: MachineFiles | None = None,
) -> Iterator[Site]:
    """A server side that ends with the test. Its ingestor is connected: what a machine says from now on is heard."""
    running = Site(engine, *orgs, refresh_seconds=refresh_seconds, limits=limits, broker=broker, files=files)
    try:
        wait_until(lambda: running.ingestor.metrics.connected, what="the ingestor is connected")
        yield running
    finally:
        running.stop()
