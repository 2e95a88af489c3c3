"""The ingestor's process, for `dashfleet ingestor`."""

import gc
import time
from collections.abc import Sequence
from dataclasses import replace

from broker.access.policy import Principal, Role
from broker.client.mqtt import Mqtt
from broker.client.transport import Backoff, Transport
from ingestor.ingestor import Ingestor
from ingestor.intake.limits import Limits, Rate
from ingestor.metrics import serving
from ingestor.storage.store import Store
from runtime.process import Stop, say_ready
from runtime.settings.ingestor import IngestorSettings
from schemas.database.engine import open_engine, shown_url, upgrade

PRINCIPAL = Principal(Role.INGESTOR, "", "ingestor")
"""Of the only ingestor, or the first one."""

RECONNECT_SECONDS = 5.0
"""The longest wait before the next attempt: the whole fleet is unverified until the ingestor hears again."""

GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""For Python's collector, which otherwise walks through the whole fleet in memory again and again (`gc.set_threshold`):
of what a batch makes, hardly anything is a cycle."""


def run(settings: IngestorSettings) -> None:
    """Bring the database to this version and ingest until told to stop. Raises SettingsError or DatabaseError."""
    password = settings.secret()
    engine = open_engine(settings.database.get_secret_value())
    upgrade(engine)
    stop = Stop()
    principal = replace(PRINCIPAL, name=settings.name)
    gc.set_threshold(*GARBAGE_THRESHOLDS)

    def open_transport(*, subscriptions: Sequence[tuple[str, int]]) -> Transport:
        return Mqtt(
            settings.address,
            username=principal.username,
            password=password,
            subscriptions=subscriptions,
            keep_alive_seconds=settings.keep_alive_seconds,
            ca_file=settings.ca_file,
            backoff=Backoff(most_seconds=RECONNECT_SECONDS),
        )

    ingestor = Ingestor(
        store=Store(engine, name=settings.name, dead_letter_max=settings.dead_letter_max),
        open_transport=open_transport,
        batch_max=settings.batch_max,
        ack_seconds=settings.ack_seconds,
        now=_now,
        monotonic=time.monotonic,
        limits=Limits(
            time.monotonic,
            Rate(settings.machine_messages_per_minute, settings.machine_bytes_per_minute),
            Rate(settings.org_messages_per_minute, settings.org_bytes_per_minute),
        ),
    )
    with serving(settings.metrics_address, ingestor.metrics, now=_now):
        say_ready(f"ingestor into {shown_url(engine)}")
        while not stop.asked:
            ingestor.step()
        ingestor.stop()
    engine.dispose()


def _now() -> int:
    return time.time_ns() // 1_000_000
